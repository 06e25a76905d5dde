"""Registered models: immutable versions, what serves, and who decided it."""
