"""Which lists people were given; apart from what reads them, which takes seconds to import."""

from slmrec.data.source import snapshot
from slmrec.errors import SourceMissingError


def handed_out_digest(place: str) -> str:
    """What lists that people were given are identified by; empty where no place is named.

    Raises `SourceMissingError` when nothing is there.
    """
    if not place:
        return ""
    try:
        return snapshot(place, "")
    except SourceMissingError as error:
        raise SourceMissingError(f"monitor_drift.recommendations: {error}") from None
