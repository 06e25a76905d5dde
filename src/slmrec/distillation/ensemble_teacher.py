"""An ensemble as a teacher that never looks up the answer.

What a model says about a history that it was made from is mostly that history: soft labels of that
kind taught a student less than none at all. So each training history is judged by the network that was
trained without its user, and by a graph of transitions from which the history itself is taken out.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slmrec.data.sequences import Sequences
from slmrec.distillation.teachers import NetworkTeacher, Reading
from slmrec.models.ensemble import POPULARITY, TRANSITIONS, Ensemble, evidence
from slmrec.models.transitions import Transitions
from slmrec.training.batches import Batch
from slmrec.training.device import CPU
from slmrec.training.folds import fold_of_users


class EnsembleTeacher:
    """An ensemble, asked about the training histories of `sequences`.

    The scores are those of the network that has not seen the user, plus what the counted members
    add. The states are the first network's, whoever the user is: those of different networks could
    not be compared with each other.
    """

    def __init__(
        self, ensemble: Ensemble, sequences: Sequences, device: torch.device = CPU
    ) -> None:
        self.layers = ensemble.shape.layers
        self.width = ensemble.networks[0].shape.width
        self.max_length = ensemble.max_length
        self._ensemble = ensemble
        self.device = device
        self._networks = [NetworkTeacher(network, device) for network in ensemble.networks]
        self._fold = fold_of_users(sequences, len(self._networks))
        self._offsets = np.asarray(sequences.offsets)

    @torch.inference_mode()
    def read(self, batch: Batch, blocks: int, *, attention: bool = False) -> Reading:
        """Run every network over the batch and take from each what it says of strangers."""
        source = batch.source[batch.source >= 0].numpy()
        user = np.searchsorted(self._offsets, source, side="right") - 1
        fold = torch.from_numpy(self._fold[user]).to(self.device)
        first = self._networks[0].read(batch, blocks, attention=attention)
        scores = first.scores
        for number, network in enumerate(self._networks[1:], start=1):
            strangers = fold == number
            scores[strangers] = network.read(batch, 1).scores[strangers]
        self._add_counted(scores, batch)
        return Reading(first.states, scores, first.attention)

    def _add_counted(self, scores: Tensor, batch: Batch) -> None:
        gains = self._ensemble.gains
        if gains[TRANSITIONS]:
            added = evidence(held_out_transitions(self._ensemble.transitions, batch))
            scores += gains[TRANSITIONS] * torch.from_numpy(added).to(self.device)
        if gains[POPULARITY]:
            popular = self._ensemble.popularity.scores([np.zeros(0, np.int32)])
            scores += gains[POPULARITY] * torch.from_numpy(evidence(popular)).to(self.device)


def held_out_transitions(transitions: Transitions, batch: Batch) -> NDArray[np.float32]:
    """What the graph says after each real position of a batch had the window not been counted.

    float32 [positions, items + 1], rows in row-major order of the batch.
    """
    return transitions.held_out_scores(*stretches(batch))


def stretches(batch: Batch) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The training stretches behind a batch's windows: what each reads, and its last target.

    Returns items int32 [positions + windows] and offsets int64 [windows + 1].
    """
    real = batch.targets > 0

    def of_positions(values: Tensor) -> NDArray[Any]:
        return values[real].cpu().numpy()

    read, target, place = map(of_positions, (batch.items, batch.targets, batch.positions))
    start = np.flatnonzero(place == 0)
    after = np.append(start[1:], len(read))
    window = np.repeat(np.arange(len(start)), after - start)
    items = np.empty(len(read) + len(start), np.int32)
    items[np.arange(len(read)) + window] = read
    items[after + np.arange(len(start))] = target[after - 1]
    return items, np.append(0, after + np.arange(1, len(start) + 1))
