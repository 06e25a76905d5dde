import re
from dataclasses import replace

import pytest
import torch

from slmrec.config import PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.errors import ConfigError, SlmrecError
from slmrec.progress import Silent
from slmrec.training.pretrain import train_network, train_sasrec
from slmrec.training.validation import validate

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
    model, training, _ = train_network(cycles, table, config, Silent())
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
    model, training, _ = train_network(cycles, table, config, Silent())
    assert torch.equal(model.items.weight, table)
    assert training.best_ndcg > 0.95
    users, targets = cycles.targets("validation")
    assert validate(model, cycles, users, targets) == pytest.approx(training.best_ndcg)


def test_note_tells_loss_quality_and_tempo(cycles: Sequences) -> None:
    notes: list[str] = []

    class Noted(Silent):
        def update(self, done: float, total: float, note: str = "") -> None:
            notes.append(note)

    train_sasrec(cycles, SASREC, Noted())
    assert re.fullmatch(r"loss \d\.\d{3} · NDCG@10 – · [\d,]+ tokens/s", notes[0])
    assert re.fullmatch(r"loss \d\.\d{3} · NDCG@10 \d\.\d{4} · [\d,]+ tokens/s", notes[-2])


def test_training_is_refused_when_its_device_is_absent(cycles: Sequences) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    wanted = SASREC.model_copy(update={"training": QUICK.model_copy(update={"device": "cuda"})})
    with pytest.raises(ConfigError, match=r"training\.device is 'cuda'"):
        train_sasrec(cycles, wanted, Silent())
