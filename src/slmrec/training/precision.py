"""Which number types a training multiplies in."""

from dataclasses import dataclass
from pathlib import Path

import torch

from slmrec.config import Training

BFLOAT16_WIDTH = 128
"""On a CPU, layers narrower than this gained nothing from bfloat16, layers of this width a sixth; the
product with the catalogue always did (8 layers, packed rows of 50, 2 cores with AVX512-BF16;
benchmarks/training_step.py)."""


@dataclass(frozen=True)
class Precision:
    """Types of the matrix products; sums, norms and softmax stay in float32."""

    layers: torch.dtype
    head: torch.dtype
    """Of the product of states and item embeddings."""

    def __str__(self) -> str:
        """For the training record: `float32`, `bfloat16`, or both when they differ."""
        layers, head = (str(dtype).removeprefix("torch.") for dtype in (self.layers, self.head))
        return layers if layers == head else f"{layers} layers, {head} head"


def choose_precision(config: Training, width: int, device: str = "cpu") -> Precision:
    """As configured, or by processor and width: never by a stopwatch.

    `device` is `cpu` or `cuda`. The choice changes the weights, so it must come out the same every
    time on one machine.
    """
    if config.precision != "auto":
        dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        return Precision(dtype, dtype)
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if native else torch.float32
        return Precision(dtype, dtype)
    head = torch.bfloat16 if processor_has_bfloat16() else torch.float32
    return Precision(head if width >= BFLOAT16_WIDTH else torch.float32, head)


def processor_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    if not cpuinfo.exists():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if "flags" in line), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))
