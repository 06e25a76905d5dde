"""What this machine can do at most: products a second by number type, bytes a second from memory."""

import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from slmrec.models.machine import this_machine
from slmrec.training.precision import processor_has_bfloat16

SIZE = 2048
RUNS = 15
BYTES = 2**30


def describe() -> dict[str, Any]:
    """The machine and what it reached: GFLOP/s of a square product, GB/s of a copy.

    bfloat16 is left out where the processor has no instructions for it: a product would take minutes.
    """
    kinds = {"float32": torch.float32}
    if processor_has_bfloat16():
        kinds["bfloat16"] = torch.bfloat16
    return {
        **this_machine(),
        "python": platform.python_version(),
        "peak_gflops": {name: round(product_gflops(kind), 1) for name, kind in kinds.items()},
        "copy_gb_per_second": round(copy_rate(), 1),
    }


def product_gflops(kind: torch.dtype) -> float:
    """Billions of operations a second of a square product."""
    one, other = (torch.randn(SIZE, SIZE).to(kind) for _ in range(2))
    return 2 * SIZE**3 / _median(lambda: one @ other) / 1e9


def copy_rate() -> float:
    """Billions of bytes a second that a copy reads and writes, together."""
    source = torch.zeros(BYTES, dtype=torch.uint8)
    target = torch.zeros(BYTES, dtype=torch.uint8)
    return 2 * BYTES / _median(lambda: target.copy_(source)) / 1e9


def versions(*packages: str) -> dict[str, str]:
    """Of packages in this environment."""
    return {name: version(name) for name in packages}


def _median(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
