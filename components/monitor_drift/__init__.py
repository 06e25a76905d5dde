"""Compare the newest data with the past."""
