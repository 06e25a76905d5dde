"""How often, and for how long, Cloud Storage is asked again after it failed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Out = TypeVar("Out")
DAMAGED_ARRIVALS = 5
"""Attempts after which bytes that do not have their checksum are believed to be stored like that."""


@dataclass(frozen=True)
class Patience:
    """When one request counts as failed, and when what it was for is given up.

    Every request has all of it: a large object, which takes many, is not given up while it goes on.
    """

    silence: float = 60.0
    """Seconds without a byte after which a request counts as failed."""
    first_wait: float = 1.0
    """Seconds before the second attempt, on average; twice as many before each further one."""
    longest_wait: float = 30.0
    """Seconds between two attempts at most."""
    deadline: float = 600.0
    """Seconds after which the service has failed for too long."""
    unreachable: float = 30.0
    """The same where not even a connection comes about: the network or a name is wrong, which waiting
    seldom mends."""


USUAL = Patience()


def persist(work: Callable[[], Out], patience: Patience) -> Out:
    """Call `work` until it succeeds, as long as what it raises may pass by itself.

    It must do no harm when it is done twice. Raises what cannot pass as it comes, and a
    `google.api_core.exceptions.RetryError` that was caused by the last failure after the deadline.
    """
    from google.api_core.retry import Retry
    from google.cloud.storage.exceptions import DataCorruption
    from google.cloud.storage.retry import DEFAULT_RETRY
    from requests.exceptions import JSONDecodeError

    passes = DEFAULT_RETRY._predicate
    started, damaged = time.monotonic(), 0

    def may_pass(error: Exception) -> bool:
        nonlocal damaged
        if isinstance(error, DataCorruption):
            damaged += 1
            return damaged < DAMAGED_ARRIVALS
        if never_connected(error):
            return time.monotonic() - started < patience.unreachable
        # Half a JSON document is an answer that was cut off on the way.
        return isinstance(error, JSONDecodeError | CutShortError) or bool(passes(error))

    asked = Retry(
        predicate=may_pass,
        initial=patience.first_wait,
        maximum=patience.longest_wait,
        multiplier=2.0,
        timeout=patience.deadline,
    )
    return asked(work)()


class CutShortError(OSError):
    """An answer that ended early, or a transfer that the service has forgotten."""


def never_connected(error: BaseException) -> bool:
    """Whether nobody was reached: no such host, refused, or no answer to a call for a connection."""
    from google.auth.exceptions import TransportError
    from requests.exceptions import ConnectionError as NoConnection
    from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

    if isinstance(error, TransportError) and error.args:
        error = error.args[0]  # of the service that renews credentials
    if not isinstance(error, NoConnection):
        return False
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)
