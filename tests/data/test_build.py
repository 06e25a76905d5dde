from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmrec.artifacts import publish
from slmrec.config import BuildSequences, IngestInteractions
from slmrec.data.build import Built, build, k_core, write_sequences
from slmrec.data.history_plot import plot_history
from slmrec.data.ingest import ingest
from slmrec.data.readers import no_items
from slmrec.data.sequences import KIND, load_sequences
from slmrec.errors import DataError
from slmrec.progress import Silent

ALL = BuildSequences(
    min_user_interactions=1,
    min_item_interactions=1,
    deduplicate="none",
    validation_share=0.2,
    test_share=0.2,
)


def log_of(*rows: tuple[str, str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "timestamp": [row[2] for row in rows],
            "rating": pl.Series([None] * len(rows), dtype=pl.Float32),
            "row": range(1, len(rows) + 1),
        }
    )


def built(log: pl.DataFrame, items: pl.DataFrame | None = None, **settings: object) -> Built:
    config = ALL.model_copy(update=settings)
    return build(log, no_items() if items is None else items, config, Silent())


def history(result: Built, user: int) -> list[str]:
    sequences = result.sequences
    names = ["", *result.item_table["item_id"]]
    return [
        names[i] for i in sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]]
    ]


LOG = log_of(
    ("b", "y", 30),
    ("a", "z", 20),
    ("b", "x", 10),
    ("a", "x", 20),
    ("a", "y", 5),
)


def test_histories_are_in_time_order_when_rows_are_not():
    result = built(LOG)
    # User a has z and x at the same second: the source's order decides.
    assert history(result, 0) == ["y", "z", "x"]
    assert history(result, 1) == ["x", "y"]
    assert result.user_table["user_id"].to_list() == ["a", "b"]
    assert result.item_table.select("item_index", "item_id").rows() == [
        (1, "x"),
        (2, "y"),
        (3, "z"),
    ]
    assert result.sequences.offsets.tolist() == [0, 3, 5]
    assert result.sequences.timestamps.tolist() == [5, 20, 20, 10, 30]


def test_counts_and_colds_are_marked_when_items_come_late():
    result = built(LOG)
    # Sorted times 5 10 20 20 30: validation from the fourth (20), test from the fifth (30).
    assert result.card["validation_starts"] == 20
    assert result.card["test_starts"] == 30
    assert result.item_table.select("count", "first_seen", "cold").rows() == [
        (2, 10, False),
        (2, 5, False),
        (1, 20, True),
    ]
    assert result.user_table["cold"].to_list() == [False, False]
    assert result.card["split_interactions"] == {"train": 2, "validation": 2, "test": 1}
    # One test target: b's y, which a touched in training.
    assert result.card["test_targets"] == 1
    assert result.card["cold_test_target_share"] == 0.0


def test_a_user_is_cold_when_nothing_of_theirs_is_trained():
    result = built(
        log_of(("a", "x", 1), ("a", "y", 2), ("a", "x", 3), ("b", "x", 4), ("b", "y", 5))
    )
    assert result.user_table["cold"].to_list() == [False, True]


def test_repeats_are_dropped_as_the_policy_says():
    log = log_of(
        ("a", "x", 1), ("a", "y", 2), ("a", "x", 3), ("a", "x", 3), ("b", "x", 4), ("b", "y", 5)
    )
    assert history(built(log, deduplicate="none"), 0) == ["x", "y", "x", "x"]
    assert history(built(log, deduplicate="exact"), 0) == ["x", "y", "x"]
    assert history(built(log, deduplicate="first"), 0) == ["x", "y"]


def test_titles_are_joined_when_items_are_described():
    items = pl.DataFrame({"item_id": ["y", "q"], "title": ["Été", "-"], "category": [None, "-"]})
    result = built(LOG, items)
    assert result.item_table.select("title", "category").rows() == [("", ""), ("Été", ""), ("", "")]


def brute_force_core(pairs: list[tuple[int, int]], users: int, items: int) -> list[bool]:
    inside = [True] * len(pairs)
    while True:
        alive = [pair for pair, keep in zip(pairs, inside, strict=True) if keep]
        of_user = Counter(user for user, _ in alive)
        of_item = Counter(item for _, item in alive)
        for index, (user, item) in enumerate(pairs):
            if inside[index] and (of_user[user] < users or of_item[item] < items):
                inside[index] = False
                break
        else:
            return inside


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_the_core_is_the_brute_force_one_when_removal_goes_one_by_one(pairs, users, items):
    found = k_core(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), users, items)
    assert found.tolist() == brute_force_core(pairs, users, items)


def test_the_log_is_refused_when_its_core_is_empty():
    with pytest.raises(DataError) as caught:
        built(LOG, min_user_interactions=4)
    message = str(caught.value)
    assert all(
        word in message
        for word in ("5 interactions", "2 users", "3 items", "min_user_interactions", "lower")
    )


def publish_built(directory, result: Built) -> None:
    properties: dict[str, object] = {}
    with publish(directory, KIND, properties=properties) as staging:
        properties.update(write_sequences(staging, result))
        plot_history(result.sequences, staging / "history.svg")


@given(st.permutations(range(12)))
def test_the_bytes_are_equal_when_rows_come_in_another_order(tmp_path_factory, order):
    rows = [(f"u{i % 3}", f"i{i * 7 % 4}", 100 + i) for i in range(12)]
    folder = tmp_path_factory.mktemp("order")
    one = built(log_of(*rows), deduplicate="first")
    other = built(log_of(*(rows[i] for i in order)), deduplicate="first")
    for name, result in (("one", one), ("other", other)):
        (folder / name).mkdir()
        write_sequences(folder / name, result)
    for path in (folder / "one").iterdir():
        assert path.read_bytes() == (folder / "other" / path.name).read_bytes(), path.name


def test_sequences_are_as_built_when_read_back(tmp_path):
    result = built(LOG)
    publish_built(tmp_path / "sequences", result)
    loaded = load_sequences(tmp_path / "sequences")
    for name in ("offsets", "items", "timestamps", "train_end", "validation_end"):
        expected = getattr(result.sequences, name)
        assert getattr(loaded, name).dtype == expected.dtype
        assert getattr(loaded, name).tolist() == expected.tolist()
    assert loaded.items.dtype == np.int32
    assert loaded.item_count == 3
    assert loaded.item_table.equals(result.item_table)
    assert loaded.targets("test")[0].tolist() == [1]


def test_the_figure_is_the_same_when_drawn_twice(tmp_path):
    result = built(LOG)
    for name in ("one.svg", "two.svg"):
        plot_history(result.sequences, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "one.svg").read_bytes()


def test_the_core_of_movietweetings_is_the_known_one_when_built(tmp_path, real_data):
    source = real_data / "movietweetings" / "ratings_2013-11-06.dat.gz"
    ingest(str(source), "", IngestInteractions(), tmp_path, Silent())
    log = pl.read_parquet(tmp_path / "interactions.parquet")
    result = build(log, no_items(), BuildSequences(), Silent())
    sequences = result.sequences
    assert (sequences.users, sequences.item_count, sequences.interactions) == (
        5_973,
        3_119,
        102_461,
    )
    assert (
        sequences.timestamps[sequences.split_mask("train")].max() < result.card["validation_starts"]
    )
    assert sequences.timestamps[sequences.split_mask("test")].min() == result.card["test_starts"]
