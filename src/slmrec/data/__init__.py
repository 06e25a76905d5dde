"""From raw files to validated, time-ordered sequences."""
