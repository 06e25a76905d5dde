"""Ranking metrics, their uncertainty, speed and the report."""
