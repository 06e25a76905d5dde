"""Listings of Cloud Storage, a page at a time, so that a failure costs a page and not all of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from slmrec.storage.patience import Patience, persist

if TYPE_CHECKING:
    from google.cloud.storage import Client


def list_blobs(client: "Client", bucket: str, prefix: str, patience: Patience) -> Iterator[Any]:
    """Every object of a bucket whose name begins with a prefix, in order of name.

    Raises what `persist` raises.
    """
    token: str | None = None

    def page() -> tuple[list[Any], str | None]:
        found = client.list_blobs(
            bucket, prefix=prefix, page_token=token, timeout=patience.silence, retry=None
        )
        return list(next(found.pages, ())), found.next_page_token

    while True:
        blobs, token = persist(page, patience)
        yield from blobs
        if token is None:
            return


def require_bucket(client: "Client", bucket: str, patience: Patience) -> None:
    """Raise `google.api_core.exceptions.NotFound` where there is no such bucket.

    By a listing, for which the right to read objects is enough.
    """

    def attempt() -> None:
        found = client.list_blobs(bucket, max_results=1, timeout=patience.silence, retry=None)
        next(iter(found), None)

    persist(attempt, patience)
