"""Decide whether this run has a reason to train."""
