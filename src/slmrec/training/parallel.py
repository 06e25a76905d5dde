"""Several processes that train one model: each takes a part of every batch.

They exist when `torch.distributed` was initialised before, as `slmrec.training.worker` does. The
losses and gradients are those of one process that sees whole batches.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from slmrec.training.batches import Batch


def in_group() -> bool:
    """Whether this process belongs to a group of `torch.distributed`."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@dataclass(frozen=True)
class World:
    """A process among those that train together; most often it is alone."""

    rank: int
    size: int
    device: torch.device
    """Where tensors lie that are sent to the others."""

    @classmethod
    def joined(cls, device: torch.device) -> "World":
        """The group that was initialised, or a world of one."""
        if not in_group():
            return cls(0, 1, device)
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)

    @property
    def leads(self) -> bool:
        """Whether this process reports, validates and writes for all."""
        return self.rank == 0

    def wrap(self, module: nn.Module, may_leave_out: bool) -> nn.Module:
        """The module with gradients averaged over the processes.

        `may_leave_out`: the loss may leave parameters of the module unused.
        """
        if self.size == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=may_leave_out)

    def part(self, batch: Batch) -> tuple[Batch, float]:
        """The rows of this process, and what a mean over them counts in the mean over the batch.

        A process for which no row is left computes the first one and counts nothing, because the
        others wait for its gradients.
        """
        if self.size == 1:
            return batch, 1.0
        rows = torch.arange(len(batch.items))[self.rank :: self.size]
        mine = batch.rows(rows if len(rows) else rows.new_zeros(1))
        scale = mine.mean_weight / batch.mean_weight
        share = mine.real_positions / batch.real_positions if len(rows) else 0.0
        return replace(mine, weight_scale=scale), share

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors that all processes brought, of one shape and type, by rank."""
        if self.size == 1:
            return [tensor]
        brought = tensor.to(self.device)
        everyones = [torch.empty_like(brought) for _ in range(self.size)]
        torch.distributed.all_gather(everyones, brought)
        return [one.to(tensor.device) for one in everyones]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, the same bits in each."""
        return torch.stack(self.gather(values)).sum(dim=0)

    def from_first(self, value: float) -> float:
        """What the leading process brought."""
        return float(self.gather(torch.tensor([value], dtype=torch.float64))[0])
