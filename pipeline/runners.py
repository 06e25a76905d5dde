"""What a step runs in when the pipeline runs on this machine.

Processes of this interpreter, here, or containers, in `pipeline/containers.py`.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil

from pipeline.code import code_digest, image_name
from pipeline.home import Home
from slmrec.processes import end_children, orphans_ended


class StepRunner(Protocol):
    """How the steps of a run are started and ended."""

    image: str
    """Stands in the file as executed, and so in every cache key."""
    code_digest: str
    """Of the code that the steps run."""
    errors: tuple[type[Exception], ...]
    """What KFP raises, beside `RuntimeError`, when a step cannot be started."""

    def task_cache(self, home: Home) -> Path:
        """Where KFP finds results that these steps may reuse."""
        ...

    def start(
        self,
        home: Home,
        run_id: str,
        parameters: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> Any:
        """Give KFP's own runner for one run."""
        ...

    def end(self) -> None:
        """End the steps that are running."""
        ...


class Subprocesses:
    """Each step is a process of this interpreter, with the code of this repository."""

    errors: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self.code_digest = code_digest()
        self.image = image_name(self.code_digest)

    def task_cache(self, home: Home) -> Path:
        """The home's own: the image's name carries the code's digest."""
        return home.task_cache

    def start(
        self,
        home: Home,
        run_id: str,
        parameters: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> Any:
        """Processes inherit the environment; there is nothing to say."""
        from kfp import local

        return local.SubprocessRunner(use_venv=False)

    def end(self) -> None:
        """End every process that this one started."""
        end_children()


@contextlib.contextmanager
def steps_end_with_us(
    end: Callable[[], None], started_here: Callable[[psutil.Process], bool] | None = None
) -> Iterator[None]:
    """On Ctrl-C or termination `end` the running steps first, so that none goes on unseen.

    What a step that was killed has left running is ended, too, at once and when the run fails.
    `started_here` tells whether this process has started a child; by default KFP's tasks are known.
    """

    def interrupt(number: int, frame: object) -> None:
        end()
        sys.stdout.flush()
        raise KeyboardInterrupt

    others = {child.pid for child in psutil.Process().children()}
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, interrupt)
    try:
        with orphans_ended(started_here or _is_a_step):
            yield
    except BaseException:
        end_children(spare=others)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_a_step(process: psutil.Process) -> bool:
    """Whether KFP has started it: the command of every task in the compiled file is a shell's."""
    return process.cmdline()[:2] == ["sh", "-ec"]
