"""Row 15: what would fill memory or disk is refused by its header, or takes little of both."""

import json
from pathlib import Path

import pytest

from slmrec.config import IngestInteractions
from slmrec.data import parquet_pages
from slmrec.data.ingest import ingest
from slmrec.data.parquet_pages import check_pages
from slmrec.data.sequences import load_sequences
from slmrec.errors import ArtifactError, DataError
from slmrec.models.checkpoint import SHAPE, WEIGHTS
from slmrec.models.decoder import DecoderShape
from slmrec.progress import Silent
from tests.faults.bombs import (
    HEADER,
    Bomb,
    array_bombs,
    lying,
    packed,
    parquet_bombs,
    text_bombs,
    weight_bombs,
)
from tests.faults.child import Outcome, call, ingested, made, sequences
from tests.faults.child_models import weights
from tests.faults.conftest import Tell

SECONDS, MEGABYTES = 5.0, 1000.0
_ARRAYS = ("offsets", "items", "timestamps", "train_end", "validation_end")


def light(name: str, outcome: Outcome) -> Outcome:
    """Check that a call took little time and memory, and raised nothing but an error of ours."""
    assert outcome.seconds < SECONDS, (name, outcome)
    assert outcome.peak_mb < MEGABYTES, (name, outcome)
    known = ("", "DataError", "ArtifactError")
    assert outcome.error.partition(":")[0] in known, (name, outcome)
    return outcome


def explode(bomb: Bomb, folder: Path) -> Outcome:
    """Ingest a bomb in a process of its own."""
    folder.mkdir()
    sound = folder / "sound.csv"
    sound.write_bytes(HEADER + b"u1,a,1\n")
    path = folder / bomb.file
    path.write_bytes(bomb.content())
    log, items = (sound, str(path)) if bomb.items else (path, "")
    outcome = light(bomb.name, call(ingested, log, items, folder / "out"))
    path.unlink()
    assert bomb.refused in outcome.error, (bomb.name, outcome)
    assert bool(bomb.refused) == bool(outcome.error), (bomb.name, outcome)
    return outcome


@pytest.mark.faults
def test_bombs_take_seconds_and_megabytes_when_they_are_read(tmp_path: Path, tell: Tell) -> None:
    tried = [*text_bombs(), *parquet_bombs()]
    found = [explode(bomb, tmp_path / str(number)) for number, bomb in enumerate(tried)]
    for number, (name, content) in enumerate(array_bombs().items()):
        files = {f"{array}.npy": content for array in _ARRAYS}
        folder = made(tmp_path / f"array{number}", "sequences", files, items=3)
        outcome = light(name, call(sequences, folder))
        assert outcome.error.startswith("ArtifactError"), (name, outcome)
        found.append(outcome)
    for number, (name, content) in enumerate(weight_bombs().items()):
        outcome = light(name, call(weights, student(tmp_path / f"weights{number}", content)))
        assert outcome.error.startswith("ArtifactError"), (name, outcome)
        found.append(outcome)
    slowest = max(outcome.seconds for outcome in found)
    largest = max(outcome.peak_mb for outcome in found)
    refused = sum(bool(outcome.error) for outcome in found)
    tell(
        15,
        "decompression bombs, Parquet bombs, absurd arrays and weights",
        "refused from their headers or bounded, under 5 s and 1 GB",
        f"{len(found)} files: {refused} refused, {len(found) - refused} read; slowest "
        f"{slowest:.1f} s, largest process {largest:.0f} MB",
    )


def student(folder: Path, content: bytes) -> Path:
    """A student whose weights are such bytes."""
    shape = DecoderShape(items=9, width=8, heads=2, feed_forward=(8,), max_length=4)
    described = {"model": "Decoder", **shape.model_dump()}
    files = {WEIGHTS: content, SHAPE: json.dumps(described).encode()}
    return made(folder, "student", files, name="student")


@pytest.mark.parametrize("name", ["10 GB of rows, zstd", "a user of 1 GB", "a row of 9 MB"])
def test_text_is_refused_when_it_is_a_bomb(name: str, tmp_path: Path) -> None:
    (bomb,) = [bomb for bomb in text_bombs() if bomb.name == name]
    (tmp_path / bomb.file).write_bytes(bomb.content())
    with pytest.raises(DataError, match=bomb.refused):
        ingest(str(tmp_path / bomb.file), "", IngestInteractions(), tmp_path, Silent())


@pytest.mark.parametrize("name", array_bombs())
def test_sequences_are_refused_when_an_array_is_no_plain_one(name: str, tmp_path: Path) -> None:
    files = {f"{array}.npy": array_bombs()[name] for array in _ARRAYS}
    with pytest.raises(ArtifactError, match=r"offsets\.npy: not a plain array"):
        load_sequences(made(tmp_path / "made", "sequences", files, items=3))


@pytest.mark.parametrize("dictionary", [False, True])
def test_pages_are_believed_and_not_the_footer_when_they_differ(
    dictionary: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(lying(["u" * 3_000_000, "v" * 3_000_000], dictionary))
    assert check_pages(path, ["item"], 100) is None
    monkeypatch.setattr(parquet_pages, "LARGEST_PAGE", 5_000_000)
    with pytest.raises(DataError, match="a page of column 'user' unpacks to 6,000,0"):
        check_pages(path, ["user"], 100)
    monkeypatch.undo()
    monkeypatch.setattr(parquet_pages, "FREE_BYTES", 5_000_000)
    with pytest.raises(DataError, match="max_growth"):
        check_pages(path, ["user"], 100)


@pytest.mark.parametrize("inner", [3, 7])
def test_a_page_header_is_refused_when_it_claims_more_than_it_can_hold(inner: int) -> None:
    header = bytes([0xF0 | inner, *[0xFF] * 8, 0x01])  # a list of 2^57 or so
    with pytest.raises(ValueError, match="a longer list than its page header"):
        parquet_pages._after(header, 0, 9, 0)


def test_a_large_log_is_read_when_the_setting_allows_its_growth(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    # Twenty million bytes that pack 400 times: ten people, each with one item, a moment apart.
    rows = b"".join(b"u%d,i%d,%d\n" % (n % 10, n % 10, 10**9) for n in range(10_000))
    path.write_bytes(packed("gzip", rows * 10, 12, HEADER))
    with pytest.raises(DataError, match=r"raise ingest_interactions\.max_growth"):
        ingest(str(path), "", IngestInteractions(), tmp_path, Silent())
    card = ingest(str(path), "", IngestInteractions(max_growth=1000), tmp_path, Silent())
    assert card["rows_in"] == 1_200_000
    assert card["kept"] == 10


def test_a_long_line_is_read_when_the_setting_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("u1 " + " ".join(f"item{n}" for n in range(150_000)) + "\nu2 a b\n")
    with pytest.raises(DataError, match=r"raise ingest_interactions\.max_line_bytes"):
        ingest(str(path), "", IngestInteractions(), tmp_path, Silent())
    settings = IngestInteractions(max_line_bytes=10_000_000)
    assert ingest(str(path), "", settings, tmp_path, Silent())["kept"] == 150_002
