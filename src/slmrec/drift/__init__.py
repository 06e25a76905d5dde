"""Whether the newest data still look like the past."""
