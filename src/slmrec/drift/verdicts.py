"""The words in which a report of drift ends; whoever acts on one needs nothing of how it came about."""

STABLE, WATCH, DRIFT, NOT_ENOUGH_DATA = "stable", "watch", "drift", "not enough data"
