"""The step that holds the log against its expectations."""
