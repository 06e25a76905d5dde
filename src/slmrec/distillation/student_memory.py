"""The memory that a student keeps beside its layers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from slmrec.data.sequences import Sequences
from slmrec.models.counted import Counted
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.models.ensemble import POPULARITY, TRANSITIONS, Floats, evidence
from slmrec.models.scorer import History
from slmrec.training.gains import GAIN_USERS, fit_gains
from slmrec.training.validation import validation_sample


def with_memory(
    student: Decoder, counted: Counted, neighbours: int, sequences: Sequences, seed: int
) -> tuple[Decoder, Mapping[str, float]]:
    """Give a trained student what was counted, and fit how much transitions and popularity count.

    Where nobody validates they count as `counted` says. Returns a copy with a memory of `neighbours`
    transitions an item, and the NDCG@10 on validation of all `together`, of the layers alone
    (`scores`), and of `transitions` and `popularity` alone.
    """
    shape = student.shape.model_copy(update={"memory": neighbours})
    remembering = Decoder(shape).eval()
    remembering.load_state_dict(student.state_dict(), strict=False)
    memory = remembering.memory
    assert memory is not None
    memory.remember(counted.transitions)
    popular = evidence(counted.popularity.scores([np.zeros(0, np.int32)]))

    @torch.inference_mode()
    def scores(histories: Sequence[History]) -> Floats:
        return student.catalogue_scores(*right_padded(histories, student.max_length)).numpy()

    @torch.inference_mode()
    def added(histories: Sequence[History]) -> dict[str, Floats]:
        found = memory.evidence(*right_padded(histories, student.max_length)).numpy()
        return {TRANSITIONS: found, POPULARITY: np.broadcast_to(popular, found.shape)}

    users, targets = validation_sample(sequences, np.random.default_rng(seed), GAIN_USERS)
    gains, quality = counted.gains, dict[str, float]()
    if len(users):
        gains, quality = fit_gains(scores, added, sequences, users, targets)
    memory.gain.fill_(gains[TRANSITIONS])
    memory.popular.copy_(torch.from_numpy(gains[POPULARITY] * popular[0]))
    return remembering, quality
