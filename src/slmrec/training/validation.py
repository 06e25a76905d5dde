"""How good a model is during its training: NDCG@10 on users who validate."""

import numpy as np
import torch

from slmrec.data.sequences import Int64, Sequences
from slmrec.errors import SlmrecError
from slmrec.evaluation.metrics import ndcg
from slmrec.evaluation.ranking import rank_targets
from slmrec.models.encoder import SequenceEncoder, right_padded
from slmrec.training.device import CPU

VALIDATION_USERS = 2000


def validation_sample(
    sequences: Sequences, rng: np.random.Generator, most: int = VALIDATION_USERS
) -> tuple[Int64, Int64]:
    """Users and target positions to validate on, at most so many."""
    users, targets = sequences.targets("validation")
    if len(users) > most:
        chosen = np.sort(rng.choice(len(users), most, replace=False))
        users, targets = users[chosen], targets[chosen]
    return users, targets


@torch.inference_mode()
def validate(
    model: SequenceEncoder,
    sequences: Sequences,
    users: Int64,
    targets: Int64,
    device: torch.device = CPU,
    batch: int = 256,
) -> float:
    """NDCG@10 of the next item over the full catalogue, seen items not ranked.

    `device` is where the model is; ranks are made on the CPU. Raises `SlmrecError` when a score is
    not finite.
    """
    model.eval()
    ranks = []
    for low in range(0, len(users), batch):
        chosen, target = users[low : low + batch], targets[low : low + batch]
        starts = sequences.offsets[chosen]
        histories = [np.asarray(sequences.items[a:b]) for a, b in zip(starts, target, strict=True)]
        items, last = (part.to(device) for part in right_padded(histories, model.max_length))
        scores = model.catalogue_scores(items, last).cpu().numpy()
        if not np.isfinite(scores).all():
            raise SlmrecError(
                "the model's scores are not finite on validation; lower training.learning_rate"
            )
        wanted = np.asarray(sequences.items[target])
        ranks.append(rank_targets(scores, histories, wanted, exclude_seen=True))
    return float(ndcg(np.concatenate(ranks), 10).mean()) if ranks else 0.0
