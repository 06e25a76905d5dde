"""The step that compares every model on the same users."""
