"""Promote the candidate, or refuse and say which gate."""
