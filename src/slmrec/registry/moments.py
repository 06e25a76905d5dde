"""Moments as the decision log writes them: ISO 8601 with a time zone."""

from datetime import datetime

from slmrec.errors import ConfigError


def is_later(moment: str, other: str) -> bool:
    """Whether an ISO 8601 moment is later than another; not where one of them is none."""
    try:
        return datetime.fromisoformat(moment) > datetime.fromisoformat(other)
    except (ValueError, TypeError):
        return False


def require_moment(until: str) -> None:
    """Raise `ConfigError` where a text is no moment with a time zone."""
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigError(
            f"until: found '{until}', expected a moment with its time zone such as "
            "2026-01-31T09:00:00+00:00"
        )
