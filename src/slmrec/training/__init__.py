"""Batching, losses and the optimisation loop."""
