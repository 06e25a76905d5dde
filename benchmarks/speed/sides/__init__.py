"""What runs as a process of its own: each prints one JSON object last."""
