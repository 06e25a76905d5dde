"""Recommenders: torch modules, baselines, and the one interface through which all are judged."""
