"""What this process may use of the machine: threads, and instructions for small integers."""

import os
import platform
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

import joblib

_CPUINFO = Path("/proc/cpuinfo")
_THREADS = Path("/proc/self/task")
_PRODUCTS = (
    ("amx_int8", "AMX"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx_vnni", "AVX VNNI"),
    ("i8mm", "NEON i8mm"),
    ("asimddp", "NEON dot product"),
)
"""Flags of instructions that multiply bytes and add them up at once, the fastest first."""


class Machine(TypedDict):
    """What models were timed on."""

    processor: str
    threads: int
    int8_instructions: str
    onnxruntime: str


def usable_threads() -> int:
    """Processors that this process may use: its affinity and its container's share are respected."""
    return int(joblib.cpu_count())


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keep this process on the first `threads` of its processors, and torch to as many threads.

    All threads that there are move along, and threads and processes that start meanwhile inherit the
    place; afterwards everything is as before. Where the system moves no threads, they stay.
    """
    movable = hasattr(os, "sched_setaffinity")
    usual = os.sched_getaffinity(0) if movable else set()
    before = {thread: _processors(thread) or usual for thread in _own_threads()} if movable else {}
    try:
        with torch_threads(threads):
            first = set(sorted(usual)[:threads])
            _move(dict.fromkeys(before, first))
            yield
    finally:
        if movable:
            _move({thread: before.get(thread, usual) for thread in _own_threads()})


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Have torch use as many threads, where it was imported before; it is not imported for this.

    The number is the process's, so blocks in several threads must not overlap.
    """
    torch = sys.modules.get("torch")
    usual = torch.get_num_threads() if torch else 0
    try:
        if torch:
            torch.set_num_threads(threads)
        yield
    finally:
        if torch:
            torch.set_num_threads(usual)


def _own_threads() -> list[int]:
    """The numbers of this process's threads; 0, which is the calling one, where nothing lists them."""
    return [int(place.name) for place in _THREADS.iterdir()] if _THREADS.is_dir() else [0]


def _processors(thread: int) -> set[int]:
    with suppress(OSError):  # it may have ended
        return os.sched_getaffinity(thread)
    return set()


def _move(places: Mapping[int, set[int]]) -> None:
    for thread, processors in places.items():
        with suppress(OSError):  # it may have ended, and a container may forbid it
            os.sched_setaffinity(thread, processors)


def saturating_products() -> bool:
    """Whether sums of byte products overflow here unless ONNX Runtime is told to be exact.

    On x86 without the instructions for it a product of unsigned and signed bytes is summed in 16 bits.
    """
    return platform.machine() in ("x86_64", "AMD64") and not this_machine()["int8_instructions"]


@cache
def this_machine() -> Machine:
    """Describe the machine at hand."""
    fields = processor_fields(_CPUINFO.read_text() if _CPUINFO.exists() else "")
    flags = fields.get("flags", fields.get("Features", "")).split()
    return Machine(
        processor=fields.get("model name", "") or platform.machine(),
        threads=usable_threads(),
        int8_instructions=int8_instructions(flags),
        onnxruntime=version("onnxruntime"),
    )


def processor_fields(cpuinfo: str) -> dict[str, str]:
    """The fields of the first processor in the text of `/proc/cpuinfo`."""
    first, *_ = cpuinfo.strip().split("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def int8_instructions(flags: Collection[str]) -> str:
    """The fastest way to multiply bytes that a processor with these flags has; empty without one."""
    return next((name for flag, name in _PRODUCTS if flag in flags), "")


def describe(machine: Machine) -> str:
    """What was found and what it means, for people."""
    products = machine["int8_instructions"]
    return (
        f"{machine['processor']}, {machine['threads']} threads; ONNX Runtime "
        f"{machine['onnxruntime']}, int8 products by "
        + (products or "plain instructions, which may be slower than float32")
    )
