from pathlib import Path

import numpy as np
import polars as pl
import pytest

from slmrec.artifacts import open_artifact, publish
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.errors import DataError
from slmrec.models.recommend_all import Request, recommend_all
from slmrec.models.recommender import Recommender
from slmrec.models.servable import Servable
from tests.models.servables import catalogue_of, export_small

ITEMS = 12
COUNTS = [5, 1, 9, 2, 9, 3, 4, 6, 7, 8, 1, 2]
USERS = 23


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Servable:
    place = tmp_path_factory.mktemp("model") / "servable"
    return Servable(export_small(place, catalogue_of(COUNTS)), threads=2)


def write_sequences(place: Path, ids: list[str], histories: list[list[int]]) -> Sequences:
    """Histories of indices into `ids`, which the log numbers from 1."""
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    with publish(place, "sequences", properties={"items": len(ids)}) as staging:
        arrays = {
            "offsets": offsets,
            "items": np.array([item for one in histories for item in one], dtype=np.int32),
            "timestamps": np.arange(offsets[-1]),
            "train_end": offsets[1:],
            "validation_end": offsets[1:],
        }
        for name, array in arrays.items():
            np.save(staging / f"{name}.npy", array)
        table = {"item_index": range(1, len(ids) + 1), "item_id": ids}
        pl.DataFrame(table).write_parquet(staging / "items.parquet")
        users = {"user_id": [f"u{number}" for number in range(len(histories))]}
        pl.DataFrame(users).write_parquet(staging / "users.parquet")
    return load_sequences(place)


@pytest.fixture
def sequences(tmp_path: Path) -> Sequences:
    """A later log: other numbers, an item that the model does not know, one that is gone."""
    ids = ["new", *(f"i{n}" for n in range(ITEMS, 1, -1))]
    generator = np.random.default_rng(0)
    histories = [
        generator.integers(1, len(ids) + 1, size=n).tolist()
        for n in generator.integers(1, 9, size=USERS - 1)
    ]
    return write_sequences(tmp_path / "sequences", ids, [*histories, [1, 1]])


def ids_of(sequences: Sequences) -> list[list[str]]:
    names = ["", *sequences.item_table["item_id"].to_list()]
    return [
        [names[item] for item in sequences.items[start:end]]
        for start, end in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    ]


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [3, 15])
def test_everybody_gets_what_the_recommender_answers(
    servable: Servable, sequences: Sequences, tmp_path: Path, k: int, exclude_seen: bool
) -> None:
    outcome = recommend_all(
        servable, sequences, tmp_path / "out.parquet", Request(k, exclude_seen, "7"), part_users=5
    )
    found = pl.read_parquet(tmp_path / "out.parquet")
    expected = Recommender(servable).recommend(ids_of(sequences), k, exclude_seen=exclude_seen)
    assert found["items"].to_list() == [[one.item_id for one in line] for line in expected]
    for scores, line in zip(found["scores"].to_list(), expected, strict=True):
        assert scores == pytest.approx([one.score for one in line], abs=1e-5)
    assert found["user_id"].to_list() == [f"u{number}" for number in range(USERS)]
    assert found["known_items"][-1] == 0
    assert (outcome.users, outcome.without_history) == (USERS, 1)
    assert set(found["model_version"]) == {"7"}
    assert set(found["model_digest"]) == {servable.artifact.digest}
    assert not (tmp_path / "out.parquet.parts").exists()


def test_named_users_come_in_the_logs_order_and_strangers_behind_them(
    servable: Servable, sequences: Sequences, tmp_path: Path
) -> None:
    output = tmp_path / "out.parquet"
    named = ["stranger", "u7", "u2", "u7"]
    outcome = recommend_all(servable, sequences, output, Request(2), users=named)
    found = pl.read_parquet(output)
    assert found["user_id"].to_list() == ["u2", "u7", "stranger"]
    # items 3 and 5 were touched nine times
    assert found.row(2, named=True)["items"] == ["i3", "i5"]
    assert found.row(2, named=True)["scores"] == [9.0, 9.0]
    assert outcome.without_history == 1


class Stops:
    """Progress that stops the work after some parts, as Ctrl-C does."""

    def __init__(self, parts: int) -> None:
        self.left = parts

    def update(self, done: float, total: float, note: str = "") -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        pass


def test_a_stopped_call_goes_on_with_the_missing_parts(
    servable: Servable,
    sequences: Sequences,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    recommend_all(servable, sequences, whole, Request(4), part_users=5)
    with pytest.raises(KeyboardInterrupt):
        recommend_all(
            servable, sequences, output, Request(4), part_users=5, progress=Stops(parts=3)
        )
    assert not output.exists()
    asked = []
    original = Servable.best
    monkeypatch.setattr(
        Servable,
        "best",
        lambda self, h, *a, **b: asked.append(len(h)) or original(self, h, *a, **b),
    )
    recommend_all(servable, sequences, output, Request(4), part_users=5)
    assert asked == [5, 3]
    assert output.read_bytes() == whole.read_bytes()


def test_another_call_does_not_take_the_parts_of_a_stopped_one(
    servable: Servable, sequences: Sequences, tmp_path: Path
) -> None:
    output = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        recommend_all(
            servable, sequences, output, Request(4), part_users=5, progress=Stops(parts=2)
        )
    recommend_all(servable, sequences, output, Request(2), part_users=5)
    assert set(pl.read_parquet(output)["items"].list.len()) == {2}


def test_a_part_that_cannot_be_read_is_made_again(
    servable: Servable, sequences: Sequences, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    recommend_all(servable, sequences, whole, Request(4), part_users=5)
    with pytest.raises(KeyboardInterrupt):
        recommend_all(
            servable, sequences, output, Request(4), part_users=5, progress=Stops(parts=2)
        )
    part = tmp_path / "out.parquet.parts" / "000000.parquet"
    part.write_bytes(part.read_bytes()[:50])
    recommend_all(servable, sequences, output, Request(4), part_users=5)
    assert output.read_bytes() == whole.read_bytes()


def test_a_folder_of_somebody_else_is_left_alone(
    servable: Servable, sequences: Sequences, tmp_path: Path
) -> None:
    other = tmp_path / "out.parquet.parts" / "thesis.txt"
    other.parent.mkdir()
    other.write_text("years of work")
    with pytest.raises(DataError, match="holds other files than parts of lists"):
        recommend_all(servable, sequences, tmp_path / "out.parquet", Request(4))
    assert other.read_text() == "years of work"


def test_a_user_of_several_sessions_gets_a_list_for_the_last(
    servable: Servable, tmp_path: Path
) -> None:
    ids = [f"i{n}" for n in range(1, ITEMS + 1)]
    sessions = write_sequences(tmp_path / "s", ids, [[1, 2], [3], [4, 5, 6], [7, 8]])
    users = pl.DataFrame({"user_id": ["a", "b", "a", "b"]})
    object.__setattr__(sessions, "user_table", users)
    # b's first session ends after the second; of two that end together the later row counts.
    object.__setattr__(sessions, "timestamps", np.array([1, 5, 9, 2, 3, 5, 6, 7]))
    outcome = recommend_all(servable, sessions, tmp_path / "out.parquet", Request(4))
    assert outcome.users == 2
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["user_id"].to_list() == ["b", "a"]
    expected = Recommender(servable).recommend([["i3"], ["i4", "i5", "i6"]], 4)
    assert found["items"].to_list() == [[one.item_id for one in line] for line in expected]
    named = recommend_all(
        servable, sessions, tmp_path / "two.parquet", Request(4), users=["a", "zoe"]
    )
    assert (named.users, named.without_history) == (2, 1)
    assert pl.read_parquet(tmp_path / "two.parquet")["user_id"].to_list() == ["a", "zoe"]


def test_nobody_is_told(servable: Servable, sequences: Sequences, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody to recommend to"):
        recommend_all(servable, sequences, tmp_path / "out.parquet", Request(), users=[])


def test_it_works_where_torch_is_not_installed(
    servable: Servable, sequences: Sequences, tmp_path: Path
) -> None:
    import subprocess
    import sys

    assert sequences.artifact is not None
    code = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
from slmrec.artifacts import open_artifact
from slmrec.data.sequences import load_sequences
from slmrec.models.recommend_all import Request, recommend_all
from slmrec.models.servable import Servable
servable = Servable(open_artifact({str(servable.artifact.path)!r}))
sequences = load_sequences({str(sequences.artifact.path)!r})
recommend_all(servable, sequences, Path({str(tmp_path / "out.parquet")!r}), Request(3))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(pl.read_parquet(tmp_path / "out.parquet")) == USERS
    assert open_artifact(servable.artifact.path).digest == servable.artifact.digest
