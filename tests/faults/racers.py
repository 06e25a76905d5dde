"""Real processes that are kept ready and let go at the same moment."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

SECONDS = 120.0
"""How long one answer may take."""
Job = tuple[Callable[..., Any], tuple[Any, ...]]


class Racers:
    """Some processes; `race` gives each one job and returns what became of each."""

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def race(self, jobs: list[Job]) -> list[Any]:
        """Results in the order of the jobs; of a job that failed the exception, or its exit code."""
        assert len(jobs) == len(self._pipes)
        for pipe, job in zip(self._pipes, jobs, strict=True):
            pipe.send(job)
        answers = []
        for pipe in self._pipes:
            assert pipe.poll(SECONDS), "a racer does not answer"
            answers.append(pipe.recv())
        return answers


@contextmanager
def racers(count: int) -> Iterator[Racers]:
    """Fresh interpreters, which end with the block."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    pairs = [context.Pipe() for _ in range(count)]
    processes = [
        context.Process(target=_serve, args=(theirs, barrier), daemon=True) for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    try:
        yield Racers([mine for mine, _ in pairs])
    finally:
        for mine, _ in pairs:
            mine.send(None)
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()


def _serve(pipe: Connection, barrier: Barrier) -> None:
    while (job := pipe.recv()) is not None:
        function, arguments = job
        barrier.wait(SECONDS)
        try:
            answer = function(*arguments)
        except (Exception, SystemExit) as error:
            answer = error
        pipe.send(answer)
