"""Where a training computes, and that it computes the same each time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from slmrec.config import Device
from slmrec.errors import ConfigError
from slmrec.training.parallel import in_group

CPU = torch.device("cpu")


def choose_device(wanted: Device, setting: str = "training.device") -> torch.device:
    """The device of this process: as configured, or a GPU where there is one.

    `setting` names where `wanted` was configured. Of processes that train together each takes the GPU
    of its number on the machine. Raises `ConfigError` when `cuda` is asked for and absent, or has fewer
    GPUs than processes.
    """
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"{setting} is 'cuda' and torch finds no CUDA device; set it to 'auto' or 'cpu', "
            "or install a CUDA build of torch where there is a GPU"
        )
    number = torch.distributed.get_node_local_rank(fallback_rank=0) if in_group() else 0
    if number >= torch.cuda.device_count():
        raise ConfigError(
            f"process {number} of this machine has no GPU of its own: torch finds "
            f"{torch.cuda.device_count()}; start as many processes as there are GPUs"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def deterministic() -> Iterator[None]:
    """Only operations that give the same bits each time, while the block runs.

    cuBLAS is one of them only with a fixed workspace, which it reads from the environment when a
    process first uses it; a value that is already there is kept. Torch would also fill every new tensor
    before anything is written into it, 8 % of the time of a step on a CPU; no operation here reads
    what it has not written.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode()
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    # As `use_deterministic_algorithms`, which first imports torch's compiler for 2 to 3 seconds.
    torch.set_deterministic_debug_mode("error")
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        settings.fill_uninitialized_memory = filled
