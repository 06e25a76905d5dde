from dataclasses import replace

import numpy as np
import pytest
import torch

from slmrec.config import PretrainItems, Training
from slmrec.data.sequences import Sequences
from slmrec.progress import Silent
from slmrec.training.batches import Batch, pack, packed_batches, training_windows
from slmrec.training.losses import linear_cross_entropy
from slmrec.training.negatives import NegativeSampler
from slmrec.training.objective import catalogue_loss
from slmrec.training.pretrain import train_sasrec
from slmrec.training.sampled_losses import gbce_loss, sampled_softmax_loss

CPU = torch.device("cpu")


@pytest.fixture
def batch(cycles: Sequences) -> Batch:
    windows = training_windows(cycles, 8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    weights = np.linspace(0.5, 2.0, cycles.interactions, dtype=np.float32)
    return next(iter(packed_batches(cycles, windows, packing, 100, weights)))


def test_loss_is_the_one_that_the_batch_brings_negatives_for(
    cycles: Sequences, batch: Batch
) -> None:
    torch.manual_seed(0)
    real = batch.targets > 0
    states, table = torch.randn(int(real.sum()), 4), torch.randn(13, 4)
    targets, weights = batch.targets[real], batch.weights[real]

    def found(config: Training | None) -> float:
        negatives = None
        if config is not None:
            negatives = NegativeSampler(cycles, config, CPU).draw(np.random.default_rng(0))
        mine = replace(batch, negatives=negatives)
        return catalogue_loss(states, table, mine, 64, torch.float32).item()

    full = linear_cross_entropy(states, table, targets, weights=weights).item()
    assert found(None) == full
    assert found(Training(loss="sampled_softmax", negatives=99)) == pytest.approx(full, rel=1e-5)
    drawn = NegativeSampler(cycles, Training(loss="sampled_softmax", negatives=5), CPU).draw(
        np.random.default_rng(0)
    )
    expected = sampled_softmax_loss(states, table, targets, drawn.items, drawn.log_q, weights)
    assert found(Training(loss="sampled_softmax", negatives=5)) == expected.item()
    drawn = NegativeSampler(cycles, Training(loss="gbce", negatives=5), CPU).draw(
        np.random.default_rng(0)
    )
    expected = gbce_loss(states, table, targets, drawn.items, 0.75, weights)
    assert found(Training(loss="gbce", negatives=5)) == expected.item()


@pytest.mark.parametrize("loss", ["sampled_softmax", "gbce"])
def test_circle_is_learned_from_a_sample_of_the_catalogue(cycles: Sequences, loss: str) -> None:
    training = Training(
        loss=loss,
        negatives=5,
        epochs=25,
        learning_rate=2e-2,
        batch_tokens=64,
        dropout=0.0,
        embedding_dropout=0.0,
        precision="float32",
    )
    config = PretrainItems(width=16, layers=1, heads=2, max_length=8, training=training)
    _, result, _ = train_sasrec(cycles, config, Silent())
    assert result.best_ndcg > 0.95
