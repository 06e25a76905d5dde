"""Ending processes: what one has started, and one that hangs."""

import contextlib
import ctypes
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator

import psutil

from slmrec.errors import SlmrecError

GRACE_SECONDS = 8.0
"""So long past its deadline a process ends even where no Python can run."""
_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37
"""Of Linux' prctl(2)."""


@contextlib.contextmanager
def deadline(seconds: float, tell: Callable[[str], None]) -> Iterator[None]:
    """End this process and its children when the block takes longer; one at a time in a process.

    `tell` receives what happened before anything is ended; what stands after the block does not run.
    Where all threads stood is written to standard error.
    """
    running = threading.Lock()  # whoever takes it first decides: the block's end, or the watch

    def expire() -> None:
        if not running.acquire(blocking=False):
            return  # the work was done in time
        try:
            faulthandler.dump_traceback(sys.__stderr__ or 2)
            tell(
                f"took longer than {_spelled(seconds)} and was ended, with all processes that it had "
                "started; its log says where it stood. For more time raise timeout_minutes in "
                "pipeline/resources.yaml and run 'make compile'"
            )
            end_children()
        finally:
            os._exit(SlmrecError.exit_code)

    watch = threading.Timer(seconds, expire)
    watch.daemon = True
    faulthandler.dump_traceback_later(
        seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__ or sys.stderr
    )
    watch.start()
    try:
        with orphans_adopted():
            yield
    finally:
        if not running.acquire(blocking=False):
            threading.Event().wait()  # woken by what the watch ended: it ends this process, too
        watch.cancel()
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def orphans_adopted() -> Iterator[None]:
    """Be the parent of what children leave behind, so that `end_children` finds it.

    Linux only; elsewhere a process whose parent ended first is lost sight of.
    """
    call = getattr(ctypes.CDLL(None), "prctl", None)
    if call is None:
        yield
        return
    before = ctypes.c_int()
    call(_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    call(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        call(_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def end_children(grace_seconds: float = 3.0, spare: Collection[int] = ()) -> None:
    """Terminate every process that this one started, and kill what does not go.

    Processes in `spare`, by their ids, are left alone with what they started.
    """
    children = _children(spare)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.terminate()
    psutil.wait_procs(children, timeout=grace_seconds)
    alive = _children(spare)  # with what was started meanwhile
    for child in alive:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(alive, timeout=grace_seconds)


def _children(spare: Collection[int]) -> list[psutil.Process]:
    own = [child for child in psutil.Process().children() if child.pid not in spare]
    found = list(own)
    for child in own:
        with contextlib.suppress(psutil.Error):
            found += child.children(recursive=True)
    return found


def _spelled(seconds: float) -> str:
    amount, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")
    return f"{amount:g} {unit}{'' if amount == 1 else 's'}"
