"""Public interaction logs: which there are, and how they are fetched."""
