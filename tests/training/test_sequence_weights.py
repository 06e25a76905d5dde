import numpy as np
import pytest

from slmrec.config import SequenceWeights, Training
from slmrec.data.sequences import Sequences
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.progress import Silent
from slmrec.training.loop import train
from slmrec.training.sequence_weights import sequence_weights

DAY = 86_400


@pytest.fixture
def log() -> Sequences:
    """Two users, three and two training interactions, then one of validation each."""
    return Sequences(
        offsets=np.array([0, 4, 4, 7]),
        items=np.array([1, 2, 3, 4, 4, 3, 2], dtype=np.int32),
        timestamps=np.array([0, 2, 8, 9, 0, 4, 5]) * DAY,
        train_end=np.array([3, 4, 6]),
        validation_end=np.array([4, 4, 7]),
        item_count=4,
    )


TARGETS = [1, 2, 5]
"""Positions of the training targets."""


def test_weight_halves_with_every_half_life_before_the_end_of_the_history(log: Sequences) -> None:
    weights = sequence_weights(log, SequenceWeights(position_half_life=0.5))
    # the last ones of both users 1, the one before it 1/4: their mean is 3/4
    assert weights is not None
    assert weights[TARGETS] * 0.75 == pytest.approx([0.25, 1, 1])


def test_weight_halves_with_every_half_life_since_the_item_before(log: Sequences) -> None:
    weights = sequence_weights(log, SequenceWeights(gap_half_life_days=2))
    expected = np.array([1 / 2, 1 / 8, 1 / 4])  # gaps of 2, 6 and 4 days
    assert weights is not None
    assert weights[TARGETS] == pytest.approx(expected / expected.mean())


def test_weights_multiply_when_both_are_asked_for(log: Sequences) -> None:
    both = SequenceWeights(position_half_life=0.5, gap_half_life_days=2)
    expected = np.array([0.25 / 2, 1 / 8, 1 / 4])
    assert sequence_weights(log, both)[TARGETS] == pytest.approx(expected / expected.mean())


def test_there_are_no_weights_when_none_are_asked_for(log: Sequences) -> None:
    assert sequence_weights(log, SequenceWeights()) is None


def test_no_weight_vanishes_when_half_lives_are_tiny(log: Sequences) -> None:
    tiny = SequenceWeights(position_half_life=1e-9, gap_half_life_days=1e-9)
    assert (sequence_weights(log, tiny) > 0).all()


def test_gaps_do_not_matter_when_times_are_places_in_the_history(log: Sequences) -> None:
    ordered = Sequences(**{**vars(log), "timestamps": np.array([0, 1, 2, 3, 0, 1, 2])})
    weights = sequence_weights(ordered, SequenceWeights(gap_half_life_days=1))
    assert weights[TARGETS] == pytest.approx([1, 1, 1], abs=1e-4)


@pytest.mark.parametrize("half_life", [None, 100.0])
def test_training_multiplies_them_with_the_weights_by_recency(
    log: Sequences, half_life: float | None
) -> None:
    seen: dict[int, float] = {}
    model = SASRec(SASRecShape(items=4, width=4, layers=1, heads=1, max_length=8), 0.0, 0.0)

    def loss(batch, dtype):
        real = batch.targets > 0
        seen.update(
            zip((batch.source[real] + 1).tolist(), batch.weights[real].tolist(), strict=True)
        )
        return {"ce": model.items.weight.square().mean()}

    given = np.array([9, 1, 2, 9, 9, 3, 9], dtype=np.float32)
    config = Training(epochs=1, recency_half_life_days=half_life)
    train(model, loss, log, config, Silent(), target_weights=given)
    age = np.array([6, 0, 4])  # days before the newest training interaction
    expected = np.array([1, 2, 3]) * (1 if half_life is None else 0.5 ** (age / half_life))
    found = np.array([seen[position] for position in TARGETS])
    assert found / found.sum() == pytest.approx(expected / expected.sum(), rel=1e-5)
