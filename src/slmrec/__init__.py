"""slmrec: from an interaction log to a small, fast, trustworthy sequential recommender."""

__version__ = "0.1.0"
