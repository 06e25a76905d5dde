"""Ending processes: what one has started, and one that hangs."""

import contextlib
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator

import psutil

from slmrec.errors import SlmrecError

GRACE_SECONDS = 8.0
"""So long past its deadline a process ends even where no Python can run."""


@contextlib.contextmanager
def deadline(seconds: float, tell: Callable[[str], None]) -> Iterator[None]:
    """End this process and its children when the block takes longer.

    `tell` is called first, with what happened. Where all threads stood is written to standard error.
    """

    def expire() -> None:
        faulthandler.dump_traceback(sys.__stderr__ or 2)
        children = end_children()
        tell(
            f"took longer than {_spelled(seconds)} and was ended with {children} processes that it had "
            "started; above is where it stood. Its limit is timeout_minutes in pipeline/resources.yaml"
        )
        os._exit(SlmrecError.exit_code)

    watch = threading.Timer(seconds, expire)
    watch.daemon = True
    watch.start()
    faulthandler.dump_traceback_later(
        seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr
    )
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        watch.cancel()


def end_children(grace_seconds: float = 3.0) -> int:
    """Terminate every process that this one started, and kill what does not go; how many there were."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    _, alive = psutil.wait_procs(children, timeout=grace_seconds)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(alive, timeout=grace_seconds)
    return len(children)


def _spelled(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 60 else f"{seconds:g} seconds"
