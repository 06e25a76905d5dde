"""From states to the cross-entropy of the next item, whichever of its forms a training chose."""

import torch
from torch import Tensor

from slmrec.training.batches import Batch
from slmrec.training.losses import linear_cross_entropy
from slmrec.training.sampled_losses import gbce_loss, sampled_softmax_loss


def catalogue_loss(
    states: Tensor, table: Tensor, batch: Batch, max_logit_mib: int, dtype: torch.dtype
) -> Tensor:
    """How badly the states predict the batch's targets, a scalar.

    `states` float32 [positions, width] at the real positions in row-major order; `table` float32
    [items + 1, width]. The whole catalogue is scored, at most `max_logit_mib` MiB of it at once,
    unless the batch brings negatives that stand for it.
    """
    real = batch.targets > 0
    targets, weights, negatives = batch.targets[real], batch.weights[real], batch.negatives
    if negatives is None:
        loss = linear_cross_entropy(states, table, targets, max_logit_mib, dtype, weights)
    elif negatives.calibration is None:
        loss = sampled_softmax_loss(
            states, table, targets, negatives.items, negatives.log_q, weights, dtype
        )
    else:
        loss = gbce_loss(
            states, table, targets, negatives.items, negatives.calibration, weights, dtype
        )
    return batch.weight_scale * loss
