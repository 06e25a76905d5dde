"""Pruning, export and quantization of the student."""
