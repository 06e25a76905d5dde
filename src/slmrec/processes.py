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


@contextlib.contextmanager
def orphans_ended(
    started_here: Callable[[psutil.Process], bool], every_seconds: float = 1.0
) -> Iterator[None]:
    """Adopt orphans and end them while the block runs.

    A step that was killed cannot end what it had started, which then keeps its pipes open for ever.
    `started_here` tells, of a child that was not there before, whether this process has started it.
    """
    stop = threading.Event()
    before = {child.pid for child in psutil.Process().children()}

    def look() -> None:
        seen: set[psutil.Process] = set()
        while not stop.wait(every_seconds):
            children = psutil.Process().children()
            strange = {
                child
                for child in children
                if child.pid not in before and not _holds(started_here, child)
            }
            for orphan in (
                strange & seen
            ):  # twice: what is being started does not say yet what it is
                for process in (*_descendants(orphan), orphan):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
            seen = strange

    watch = threading.Thread(target=look, daemon=True)
    with orphans_adopted():
        watch.start()
        try:
            yield
        finally:
            stop.set()
            watch.join()


def _holds(said: Callable[[psutil.Process], bool], process: psutil.Process) -> bool:
    """Whether it is so, or the process is gone meanwhile."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or said(process)
    except psutil.Error:
        return True


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _children(spare: Collection[int]) -> list[psutil.Process]:
    own = [child for child in psutil.Process().children() if child.pid not in spare]
    return [*own, *(one for child in own for one in _descendants(child))]


def _spelled(seconds: float) -> str:
    amount, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")
    return f"{amount:g} {unit}{'' if amount == 1 else 's'}"
