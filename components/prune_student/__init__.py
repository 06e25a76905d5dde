"""A student with fewer feed-forward channels."""
