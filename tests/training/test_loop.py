from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.config import PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.errors import SlmrecError
from slmrec.progress import Silent
from slmrec.training.loop import choose_precision, processor_has_bfloat16, validate
from slmrec.training.pretrain import train_sasrec, train_teacher

QUICK = Training(
    epochs=12,
    learning_rate=1e-2,
    batch_tokens=64,
    dropout=0.0,
    embedding_dropout=0.0,
    precision="float32",
)
SASREC = PretrainItems(width=16, layers=1, heads=2, max_length=8, training=QUICK)


def test_sasrec_learns_the_circle_when_it_is_all_there_is(cycles: Sequences) -> None:
    model, training, _ = train_sasrec(cycles, SASREC, Silent())
    assert training.best_ndcg > 0.95
    users, targets = cycles.targets("test")
    assert validate(model, cycles, users, targets) > 0.95


def test_teacher_learns_the_circle_when_it_starts_from_given_embeddings(cycles: Sequences) -> None:
    config = TrainTeacher(
        width=16, layers=2, heads=2, feed_forward=16, max_length=8, training=QUICK
    )
    table = torch.randn(13, 16, generator=torch.Generator().manual_seed(0))
    model, training, _ = train_teacher(cycles, table, config, Silent())
    assert training.best_ndcg > 0.95
    assert len(model.layers) == 2


def test_weights_are_bit_identical_when_the_seed_is_the_same(cycles: Sequences) -> None:
    short = SASREC.model_copy(
        update={"training": QUICK.model_copy(update={"epochs": 2, "dropout": 0.2})}
    )
    first, record, _ = train_sasrec(cycles, short, Silent())
    second, again, _ = train_sasrec(cycles, short, Silent())
    assert record == again
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_training_stops_early_and_keeps_the_best_when_quality_stalls(cycles: Sequences) -> None:
    patient = QUICK.model_copy(update={"epochs": 60, "patience": 1, "validate_every": 1})
    model, training, _ = train_sasrec(
        cycles, SASREC.model_copy(update={"training": patient}), Silent()
    )
    assert len(training.history) < 60
    assert len(training.history) == training.best_epoch + 1
    users, targets = cycles.targets("validation")
    assert validate(model, cycles, users, targets) == pytest.approx(training.best_ndcg)


def test_training_is_refused_when_no_user_has_two_training_items(make_sequences) -> None:
    with pytest.raises(SlmrecError, match="nothing to learn from"):
        train_sasrec(make_sequences([[1, 2, 3], [3, 2, 1]]), SASREC, Silent())


def test_training_says_what_to_lower_when_the_loss_is_not_finite(cycles: Sequences) -> None:
    wild = QUICK.model_copy(update={"learning_rate": 1e12, "clip_norm": 1e12})
    with pytest.raises(SlmrecError, match=r"lower training\.learning_rate"):
        train_sasrec(cycles, SASREC.model_copy(update={"training": wild}), Silent())


class Fixed(torch.nn.Module):
    """Gives every history the same scores."""

    max_length = 8

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = torch.tensor([scores])

    def catalogue_scores(self, items: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return self.scores.repeat(len(items), 1)


def test_validation_counts_the_rank_of_the_target_among_unseen_items(make_sequences) -> None:
    # target 3 scores 3; unseen above it: 4 (1 and 2 were seen, 0 is padding) → rank 2
    sequences = make_sequences([[1, 2, 3, 4]])
    users, targets = sequences.targets("validation")
    found = validate(Fixed([99.0, 9.0, 8.0, 3.0, 5.0]), sequences, users, targets)
    assert found == pytest.approx(1 / np.log2(3))


def test_validation_gives_no_credit_when_all_items_score_alike(make_sequences) -> None:
    sequences = make_sequences([[1, 2, 12, 13]])
    users, targets = sequences.targets("validation")
    # of the equal scores items 3 … 11 stand before item 12: rank 10
    assert validate(Fixed([0.0] * 14), sequences, users, targets) == pytest.approx(1 / np.log2(11))


def test_validation_is_refused_when_scores_are_not_finite(make_sequences) -> None:
    sequences = make_sequences([[1, 2, 3, 4]])
    users, targets = sequences.targets("validation")
    with pytest.raises(SlmrecError, match="not finite"):
        validate(Fixed([0.0, 1.0, float("nan"), 1.0, 1.0]), sequences, users, targets)


def test_last_weights_are_kept_when_nobody_can_validate(cycles: Sequences) -> None:
    told: list[str] = []

    class Told(Silent):
        def say(self, message: str) -> None:
            told.append(message)

    nobody = replace(cycles, validation_end=cycles.train_end)
    _, training, _ = train_sasrec(nobody, SASREC, Told())
    assert training.best_epoch == QUICK.epochs
    assert told == ["no user to validate on: training to the last epoch and keeping its weights"]


def test_frozen_weights_stay_as_they_are_while_the_rest_learns(cycles: Sequences) -> None:
    config = TrainTeacher(
        width=16,
        layers=1,
        heads=2,
        feed_forward=16,
        max_length=8,
        freeze_items=True,
        training=QUICK,
    )
    table = torch.randn(13, 16, generator=torch.Generator().manual_seed(0))
    model, training, _ = train_teacher(cycles, table, config, Silent())
    assert torch.equal(model.items.weight, table)
    assert training.best_ndcg > 0.95
    users, targets = cycles.targets("validation")
    assert validate(model, cycles, users, targets) == pytest.approx(training.best_ndcg)


def test_precision_is_read_from_the_processor_and_not_timed(tmp_path: Path) -> None:
    modern, old = tmp_path / "modern", tmp_path / "old"
    modern.write_text("model name : x\nflags\t\t: fpu avx2 avx512_bf16\n")
    old.write_text("flags\t\t: fpu avx2\n")
    assert processor_has_bfloat16(modern)
    assert not processor_has_bfloat16(old)
    assert not processor_has_bfloat16(tmp_path / "absent")
    assert str(choose_precision(Training(precision="bfloat16"), 64)) == "bfloat16"
    assert str(choose_precision(Training(precision="float32"), 512)) == "float32"
