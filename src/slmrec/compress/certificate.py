"""The certificate of quantization: after which histories the first item cannot change.

The lead of the first item over item j is made of three things, each of which quantization moves: the
state, by at most ‖ĥ − h‖ · ‖ê_first − ê_j‖ (Cauchy-Schwarz); the embeddings, by h · (δ_first − δ_j)
with δ = ê − e; the memory, by what its rounding changes at both items. Where a lead exceeds the sum for
every j it cannot be turned around. What single precision adds on both sides is allowed for.
"""

import torch
from torch import Tensor

from slmrec.compress.storage import Storage
from slmrec.models.decoder import Decoder

_ROWS = 2**14
"""Items looked at together."""
_ROUNDING = 2.0**-24


class Certificate:
    """Of one student and the numbers in which it is kept."""

    def __init__(self, student: Decoder, storage: Storage) -> None:
        self._student = student
        self._storage = storage
        self._memory = storage.memory()
        self._table = student.items.weight.detach()
        self._kept = torch.from_numpy(storage.items.dense())

    @torch.inference_mode()
    def holds(self, items: Tensor, last: Tensor, scores: Tensor, entering: Tensor) -> Tensor:
        """After which histories the first item is certain: bool [batch].

        `items` int64 [batch, length] and `last` int64 [batch] are what the model reads, `scores` what
        it makes of them, `entering` what the graph gives as `states`. Seen items are not left out.
        """
        states = self._student.last_states(items, last)
        first = 1 + scores[:, 1:].argmax(dim=1, keepdim=True)
        read = self._read(entering)
        moved = (read - states.double()).norm(dim=1, keepdim=True)
        memory = self._remembered(items, last)
        slack = self._slack(states, scores, memory)
        safe = torch.ones(len(items), dtype=torch.bool)
        for start in range(1, len(self._table), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self._table)))
            bound = moved * torch.cdist(self._kept[first[:, 0]].double(), self._kept[rows].double())
            bound += self._moved_by_embeddings(states, first, rows)
            bound += (memory.gather(1, first) - memory[:, rows]).abs() + slack
            lead = scores.gather(1, first).double() - scores[:, rows].double()
            itself = torch.arange(rows.start, rows.stop)[None] == first
            safe &= ((lead > bound) | itself).all(dim=1)
        return safe

    def _read(self, entering: Tensor) -> Tensor:
        normed = self._storage.model.norm(entering).numpy()
        return torch.from_numpy(self._storage.items.rounded(normed)).double()

    def _moved_by_embeddings(self, states: Tensor, first: Tensor, rows: slice) -> Tensor:
        change = self._kept[rows].double() - self._table[rows].double()
        own = (
            self._kept[first[:, 0]].double() - self._table[first[:, 0]].double()
        ) * states.double()
        return (own.sum(dim=1, keepdim=True) - states.double() @ change.T).abs()

    def _remembered(self, items: Tensor, last: Tensor) -> Tensor:
        """What rounding changes in what the memory adds: float64 [batch, items + 1]."""
        if self._memory is None or self._student.memory is None:
            return torch.zeros(len(items), len(self._table), dtype=torch.float64)
        return (self._memory(items, last) - self._student.memory(items, last)).double()

    def _slack(self, states: Tensor, scores: Tensor, memory: Tensor) -> Tensor:
        """What sums in single precision may be off by, at two items in two models: [batch, 1]."""
        width = states.shape[1]
        longest = float(self._table.norm(dim=1).max())
        size = states.double().norm(dim=1, keepdim=True) * longest
        size += scores.abs().amax(dim=1, keepdim=True) + memory.abs().amax(dim=1, keepdim=True)
        return 4 * (width + 16) * _ROUNDING * size
