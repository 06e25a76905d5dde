"""The memory that a student keeps beside its layers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.models.ensemble import TRANSITIONS, Floats
from slmrec.models.scorer import History
from slmrec.models.transitions import Transitions
from slmrec.training.gains import GAIN_USERS, fit_gains
from slmrec.training.validation import validation_sample


def with_memory(
    student: Decoder, transitions: Transitions, neighbours: int, sequences: Sequences, seed: int
) -> tuple[Decoder, Mapping[str, float]]:
    """Give a trained student the strongest transitions of each item, and fit how much they count.

    Returns a copy with a memory of `neighbours` an item, and the NDCG@10 on validation of both
    `together`, of the layers alone (`scores`) and of the memory alone (`transitions`).
    """
    shape = student.shape.model_copy(update={"memory": neighbours})
    remembering = Decoder(shape).eval()
    remembering.load_state_dict(student.state_dict(), strict=False)
    memory = remembering.memory
    assert memory is not None
    memory.remember(transitions)

    @torch.inference_mode()
    def scores(histories: Sequence[History]) -> Floats:
        return student.catalogue_scores(*right_padded(histories, student.max_length)).numpy()

    @torch.inference_mode()
    def evidence(histories: Sequence[History]) -> dict[str, Floats]:
        return {TRANSITIONS: memory.evidence(*right_padded(histories, student.max_length)).numpy()}

    users, targets = validation_sample(sequences, np.random.default_rng(seed), GAIN_USERS)
    if not len(users):
        return remembering, {}
    gains, quality = fit_gains(scores, evidence, sequences, users, targets)
    memory.gain.fill_(gains[TRANSITIONS])
    return remembering, quality
