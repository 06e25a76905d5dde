from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmrec.artifacts import publish
from slmrec.config import BuildSequences, IngestInteractions
from slmrec.data.build import Built, build, write_sequences
from slmrec.data.histories import LogFigures
from slmrec.data.history_plot import plot_history
from slmrec.data.ingest import ingest
from slmrec.data.item_reader import no_items
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


Row = tuple[str, str, int]
LOG_FIGURES = {**LogFigures().card(), "order_only": False}
SCRATCH: list[Path] = []


@pytest.fixture(autouse=True)
def _scratch(tmp_path_factory):
    SCRATCH[:] = [tmp_path_factory.mktemp("logs")]


def log_of(*rows: Row) -> Path:
    """Write rows as the canonical log, ties in the order in which they are given."""
    folder = SCRATCH[0] / str(len(list(SCRATCH[0].iterdir())))
    folder.mkdir()
    source = folder / "log.csv"
    # Ratings differ, so that no row says exactly what another does.
    lines = (f"{u},{i},{t},{rating}\n" for rating, (u, i, t) in enumerate(rows))
    source.write_text("user,item,time,rating\n" + "".join(lines))
    ingest(str(source), "", IngestInteractions(ties="source"), folder, Silent())
    return folder / "interactions.parquet"


def built(log: Path, items: pl.DataFrame | None = None, **settings: object) -> Built:
    config = ALL.model_copy(update=settings)
    return build(log, no_items() if items is None else items, config, Silent())


def history(result: Built, user: int) -> list[str]:
    sequences = result.sequences
    names = ["", *result.item_table["item_id"]]
    return [
        names[i] for i in sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]]
    ]


LOG: tuple[Row, ...] = (
    ("b", "y", 30),
    ("a", "z", 20),
    ("b", "x", 10),
    ("a", "x", 20),
    ("a", "y", 5),
)


def test_histories_are_in_time_order_when_rows_are_not():
    result = built(log_of(*LOG))
    # User a has z and x at the same second, in the source in this order.
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
    result = built(log_of(*LOG))
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
    result = built(log_of(*LOG), items)
    assert result.item_table.select("title", "category").rows() == [("", ""), ("Été", ""), ("", "")]


# One user's times, minutes: 0, 10, 200, 205, 400. A pause of more than an hour ends a session.
VISITS = tuple(
    ("a", item, 60 * minute) for item, minute in zip("xyxyz", (0, 10, 200, 205, 400), strict=True)
)


def test_sessions_are_histories_when_pauses_are_long():
    result = built(log_of(*VISITS, ("b", "x", 30)), session_minutes=60, deduplicate="first")
    assert [history(result, number) for number in range(4)] == [
        ["x", "y"],
        ["x", "y"],
        ["z"],
        ["x"],
    ]
    assert result.user_table.select("user_id", "session").rows() == [
        ("a", 1),
        ("a", 2),
        ("a", 3),
        ("b", 1),
    ]
    assert (result.card["users_before"], result.card["sessions_before"]) == (2, 4)


def test_a_pause_of_exactly_the_length_stays_in_the_session_when_cut():
    result = built(log_of(("a", "x", 0), ("a", "y", 3600), ("a", "z", 7201)), session_minutes=60)
    assert [history(result, number) for number in range(2)] == [["x", "y"], ["z"]]


def test_only_the_last_are_kept_when_a_history_is_long():
    log = log_of(*VISITS, ("b", "x", 30))
    result = built(log, max_history=3)
    assert history(result, 0) == ["x", "y", "z"]
    assert history(result, 1) == ["x"]
    # Of x y x y z the distinct are x y z; the last of a's, once repeats are gone, are the same.
    assert history(built(log, max_history=3, deduplicate="first"), 0) == ["x", "y", "z"]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("vwxyz"), st.integers(1, 60)),
        min_size=8,
        max_size=40,
    ),
    st.sampled_from(["first", "exact", "none"]),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_id_maps_order_and_core_hold_when_logs_are_random(rows, policy, users, items):
    try:
        result = built(
            log_of(*rows),
            deduplicate=policy,
            min_user_interactions=users,
            min_item_interactions=items,
            split="leave_one_out",
        )
    except DataError:
        return
    sequences = result.sequences
    assert result.user_table["user_id"].is_sorted()
    assert result.user_table["user_id"].is_unique().all()
    assert result.item_table["item_id"].is_sorted()
    assert result.item_table["item_index"].to_list() == list(range(1, sequences.item_count + 1))
    found = []
    for number, user in enumerate(result.user_table["user_id"]):
        start, end = sequences.offsets[number : number + 2]
        assert end - start >= users
        times = sequences.timestamps[start:end].tolist()
        assert times == sorted(times)
        found += [
            (user, item, time) for item, time in zip(history(result, number), times, strict=True)
        ]
    assert all(found.count(row) == 1 for row in found) or policy == "none"
    assert set(found) <= set(rows)
    for item in result.item_table["item_id"]:
        assert sum(other == item for _, other, _ in found) >= items


def test_the_log_is_refused_when_its_core_is_empty():
    with pytest.raises(DataError) as caught:
        built(log_of(*LOG), min_user_interactions=4)
    message = str(caught.value)
    assert all(
        word in message
        for word in ("5 interactions", "2 users", "3 items", "min_user_interactions", "lower")
    )


def publish_built(directory, result: Built) -> None:
    properties: dict[str, object] = {}
    with publish(directory, KIND, properties=properties) as staging:
        properties.update(write_sequences(staging, result))
        plot_history(result.sequences, {**result.card, **LOG_FIGURES}, staging / "history.svg")


def test_sequences_are_as_built_when_read_back(tmp_path):
    result = built(log_of(*LOG))
    publish_built(tmp_path / "sequences", result)
    loaded = load_sequences(tmp_path / "sequences")
    for name in ("offsets", "items", "timestamps", "train_end", "validation_end"):
        expected = getattr(result.sequences, name)
        assert getattr(loaded, name).dtype == expected.dtype
        assert getattr(loaded, name).tolist() == expected.tolist()
    assert loaded.items.dtype == "int32"
    assert loaded.item_count == 3
    assert loaded.item_table.equals(result.item_table)
    assert loaded.targets("test")[0].tolist() == [1]


def test_the_figure_is_the_same_when_drawn_twice(tmp_path):
    result = built(log_of(*LOG))
    for name in ("one.svg", "two.svg"):
        plot_history(result.sequences, {**result.card, **LOG_FIGURES}, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "one.svg").read_bytes()


def test_the_figure_does_not_speak_of_time_when_there_is_only_an_order(tmp_path):
    result = built(log_of(*LOG))
    card = {**result.card, **LOG_FIGURES}
    for name, order_only in (("time.svg", False), ("order.svg", True)):
        plot_history(result.sequences, {**card, "order_only": order_only}, tmp_path / name)
    assert (tmp_path / "time.svg").read_bytes() != (tmp_path / "order.svg").read_bytes()


def test_the_core_of_movietweetings_is_the_known_one_when_built(tmp_path, real_data):
    source = real_data / "movietweetings" / "ratings_2013-11-06.dat.gz"
    ingest(str(source), "", IngestInteractions(), tmp_path, Silent())
    result = build(tmp_path / "interactions.parquet", no_items(), BuildSequences(), Silent())
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
