"""slmrec: from an interaction log to a small, fast, trustworthy sequential recommender."""

__version__ = "1.0.0"
