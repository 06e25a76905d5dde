"""What this process may use of the machine: threads, and instructions for small integers."""

import platform
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import TypedDict

import joblib
import onnxruntime

_CPUINFO = Path("/proc/cpuinfo")
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
        onnxruntime=onnxruntime.__version__,
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
