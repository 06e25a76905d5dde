"""Teachers that begin with a checkpoint: through the step, and as the teacher cache reads them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from components.pretrain_items.step import run as pretrain_items
from components.train_teacher.step import run as train_teacher
from slmrec.artifacts import open_artifact, publish
from slmrec.config import PretrainedCheckpoint, PretrainItems, Training, TrainTeacher
from slmrec.data.sequences import load_sequences
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.errors import ConfigError
from slmrec.models.checkpoint import item_vectors, load_decoder, load_model
from slmrec.models.hugging_face import load_checkpoint
from slmrec.models.item_text import item_texts, text_item_table
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.progress import Silent
from slmrec.training.batches import pack, packed_batches, training_windows

QUICK = Training(
    epochs=2,
    learning_rate=1e-2,
    batch_tokens=128,
    dropout=0.0,
    embedding_dropout=0.1,
    precision="float32",
)
COLOURS = ("red", "green", "blue")
THINGS = ("shirt", "shoe", "hat", None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty users who walk a circle of twelve items, three of which have no title; and a SASRec."""
    folder = tmp_path_factory.mktemp("teachers")
    histories = [[(user + step) % 12 + 1 for step in range(9)] for user in range(60)]
    offsets = np.arange(0, 60 * 9 + 1, 9)
    arrays = {
        "offsets": offsets,
        "items": np.asarray(histories, dtype=np.int32).ravel(),
        "timestamps": np.arange(60 * 9) * 3600,
        "train_end": offsets[1:] - 2,
        "validation_end": offsets[1:] - 1,
    }
    titles = [f"{colour} {thing}" if thing else None for colour in COLOURS for thing in THINGS]
    with publish(folder / "sequences", "sequences", properties={"items": 12}) as staging:
        for name, array in arrays.items():
            np.save(staging / f"{name}.npy", array)
        ids = [f"i{number}" for number in range(1, 13)]
        table = {"item_index": range(1, 13), "item_id": ids, "title": titles}
        pl.DataFrame(table).write_parquet(staging / "items.parquet")
    sasrec = PretrainItems(width=16, layers=1, heads=2, max_length=8, training=QUICK)
    pretrain_items(str(folder / "sequences"), sasrec.to_json(), str(folder / "sasrec"))
    return folder


def taught(made: Path, place: Path, config: TrainTeacher) -> Path:
    train_teacher(
        str(made / "sequences"), str(made / "sasrec"), config.to_json(), str(place / "teacher")
    )
    return place / "teacher"


def pretrained(checkpoint: Path, **changes: object) -> TrainTeacher:
    settings = PretrainedCheckpoint(checkpoint=str(checkpoint), layers=2, lora_rank=4)
    values = {"width": 8, "max_length": 8, "training": QUICK, "pretrained": settings}
    return TrainTeacher.model_validate({"kind": "pretrained", **values, **changes})


def test_pretrained_teacher_learns_and_is_read_like_any_other(
    made: Path, tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = open_artifact(taught(made, tmp_path, pretrained(tiny_llama)), "teacher")
    assert "the first 2 layers of" in capsys.readouterr().err
    curve = artifact.json("training.json")["history"]
    assert curve[1]["ce"] < curve[0]["ce"]
    model = load_model(artifact)
    assert isinstance(model, PretrainedDecoder)
    assert artifact.properties["parameters_total"] == model.parameters_total()
    sequences = load_sequences(made / "sequences")
    windows = training_windows(sequences, 8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    batch = next(iter(packed_batches(sequences, windows, packing, 64)))
    teacher = NetworkTeacher(model)
    reading = teacher.read(batch, blocks=2)
    positions = int((batch.targets > 0).sum())
    assert (teacher.layers, teacher.width, teacher.max_length) == (2, 8, 8)
    assert reading.states.shape == (positions, 2, 8)
    with torch.inference_mode():
        alone = model.catalogue_scores(batch.items[:1], torch.tensor([0]))[0]
    torch.testing.assert_close(reading.scores[0, 1:], alone[1:], atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="does not divide the teacher's 2 layers"):
        teacher.read(batch, blocks=3)


def test_pretrained_teacher_has_the_same_bytes_when_the_seed_is_the_same(
    made: Path, tmp_path: Path, tiny_llama: Path
) -> None:
    first, second = (
        open_artifact(taught(made, tmp_path / name, pretrained(tiny_llama))).digest
        for name in ("a", "b")
    )
    assert first == second


def test_pretrained_teacher_keeps_its_items_when_they_are_frozen(
    made: Path, tmp_path: Path, tiny_llama: Path
) -> None:
    config = pretrained(tiny_llama, width=16, freeze_items=True)
    teacher = open_artifact(taught(made, tmp_path, config))
    assert torch.equal(item_vectors(teacher), item_vectors(open_artifact(made / "sasrec")))


def test_teacher_starts_from_what_items_are_called_when_told_so(
    made: Path, tmp_path: Path, tiny_llama: Path
) -> None:
    config = TrainTeacher(
        width=8,
        layers=2,
        heads=2,
        feed_forward=8,
        max_length=8,
        item_embeddings="text",
        text_encoder=str(tiny_llama),
        freeze_items=True,
        training=QUICK,
    )
    table = load_decoder(open_artifact(taught(made, tmp_path, config))).items.weight
    texts = item_texts(load_sequences(made / "sequences").item_table)
    assert texts[:4] == ["red shirt", "red shoe", "red hat", ""]
    encoder = load_checkpoint(str(tiny_llama), tmp_path)
    expected = text_item_table(texts, encoder, 8, QUICK.seed, torch.float32, Silent())
    torch.testing.assert_close(table, expected, atol=1e-6, rtol=0)


def test_step_says_in_one_line_what_is_wrong_with_a_checkpoint(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        taught(made, tmp_path, pretrained(tmp_path))
    assert stopped.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "no config.json in it" in said[0]
