"""The step that turns the log into time-ordered sequences."""
