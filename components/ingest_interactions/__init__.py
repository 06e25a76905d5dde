"""The step that turns raw files into the canonical log."""
