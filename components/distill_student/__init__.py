"""A student that learns from the cache alone."""
