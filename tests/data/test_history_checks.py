import numpy as np
import polars as pl
import pytest

from slmrec.config import ValidateData
from slmrec.data.history_checks import check_histories, check_previous, check_sum
from slmrec.data.log_file import LogWriter
from slmrec.data.spool import ROW
from slmrec.errors import ConfigError, SourceMissingError
from slmrec.storage.bucket import Bucket
from tests.storage.cloud import serve_bucket

USERS = pl.Series(["a", "b", "c"])
ITEMS = pl.Series(["x", "y", "z"])
CARD = {
    "users": 3,
    "items": 3,
    "equal_time_share": 0.0,
    "order_only": False,
    "rows_in": 6,
    "kept": 4,
    "filtered": 1,
    "quarantined": 1,
}


@pytest.fixture
def log(tmp_path):
    """Writes (user, seconds) rows as they are, however wrong, in row groups."""

    def write(*groups):
        path = tmp_path / "interactions.parquet"
        with LogWriter(path, USERS, ITEMS) as writer:
            for group in groups:
                rows = [(user, 0, second * 1_000_000, 1, 1.0) for user, second in group]
                writer.write(writer.table(np.array(rows, ROW)))
        return path

    return write


def failed(path, card=CARD, **settings):
    checks = check_histories(path, card, ValidateData(**settings))
    return {check.expectation.split(":")[0]: check for check in checks if not check.success}


def test_nothing_fails_when_histories_are_in_order(log):
    path = log([(0, 5), (0, 5), (0, 9)], [(1, 1), (2, 7)])
    assert failed(path) == {}


@pytest.mark.parametrize(
    "groups",
    [
        ([(0, 5), (1, 6), (0, 7), (2, 8)],),
        ([(0, 5), (1, 6)], [(0, 7), (2, 8)]),
    ],
    ids=["one group", "two groups"],
)
def test_a_user_in_two_pieces_is_found_when_another_lies_between(log, groups):
    (check,) = failed(log(*groups)).values()
    assert check.expectation.startswith("each user's interactions lie together")
    assert (check.unexpected, check.examples) == (1, ("a",))


@pytest.mark.parametrize(
    "groups",
    [
        ([(0, 5), (0, 4), (1, 3), (1, 9), (2, 8)],),
        ([(0, 5)], [(0, 4), (1, 3), (1, 9), (2, 8)]),
        ([(0, 5), (0, 5)], [(0, 4)], [(1, 3), (1, 9), (2, 8)]),
    ],
)
def test_time_that_runs_backwards_is_found_when_it_does_inside_a_history(log, groups):
    (check,) = failed(log(*groups)).values()
    assert check.expectation == "time never runs backwards inside a history"
    assert (check.unexpected, check.examples) == (1, ("a",))


def test_too_few_are_told_when_there_is_no_past_and_future(log):
    path = log([(0, 5), (1, 5), (2, 6)])
    assert [*failed(path)] == ["different moments (3 means"]
    assert [*failed(log([(0, 5), (0, 6), (0, 7)]), {**CARD, "users": 1, "items": 1})] == [
        "users",
        "items",
    ]


def test_ties_fail_when_the_share_is_above_the_bound(log):
    path = log([(0, 5), (1, 6), (2, 7)])
    assert failed(path, {**CARD, "equal_time_share": 0.4}) == {}
    assert len(failed(path, {**CARD, "equal_time_share": 0.4}, max_equal_time_share=0.39)) == 1


def hurried(user, count, start=1_000_003, step=1):
    return [(user, start + step * number) for number in range(count)]


ROBOT = {"robot_events": 10, "robot_seconds": 60, "max_robot_share": 0.0}


@pytest.mark.parametrize("cut", [0, 3, 10, 11, 12])
def test_a_robot_is_found_when_its_history_lies_in_two_groups(log, cut):
    # Eleven interactions within ten seconds are more than ten within sixty; then it slows down.
    history = hurried(0, 11) + hurried(0, 2, 2_000_003, 500)
    groups = [group for group in (history[:cut], history[cut:]) if group]
    (check,) = failed(log(*groups, hurried(1, 10)), **ROBOT).values()
    assert check.expectation.startswith("share of interactions by robots")
    assert (check.unexpected, check.rows, check.examples) == (13, 23, ("a",))


def test_nobody_is_a_robot_when_the_rate_is_at_the_bound(log):
    assert failed(log(hurried(0, 10) + hurried(1, 30, step=6), [(2, 1)]), **ROBOT) == {}
    slow = hurried(0, 30, step=6)  # every eleven span exactly 60 s, which is not within them
    assert failed(log(slow), **ROBOT) == {}


def test_robots_are_not_looked_for_when_times_are_whole_days_or_positions(log):
    days = [(0, 86_400)] * 20 + [(1, 86_400 * 2), (2, 86_400 * 3)]
    assert failed(log(days), **ROBOT) == {}
    assert failed(log(hurried(0, 30)), {**CARD, "order_only": True}, **ROBOT) == {}


def test_the_sum_fails_when_a_row_is_lost():
    assert check_sum(CARD).success
    lost = check_sum({**CARD, "kept": 3})
    assert not lost.success
    assert lost.observed == "3 + 1 + 1 = 5"


def test_the_log_is_compared_when_a_model_is_in_production(log, tmp_path):
    path = log([(0, 5), (1, 6), (2, 7)])  # only item x
    items = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["w", "x"]}).write_parquet(items)
    previous = {"version": 3, "interactions": 4, "items": str(items)}
    volume, catalogue = check_previous(path, CARD, previous, ValidateData())
    assert (volume.success, volume.observed) == (True, "1")
    assert (catalogue.success, catalogue.unexpected, catalogue.rows) == (True, 1, 2)
    assert catalogue.examples == ("w",)
    strict = ValidateData(min_catalogue_kept=0.51, min_volume_ratio=1.1)
    assert [check.success for check in check_previous(path, CARD, previous, strict)] == [False] * 2
    assert check_previous(path, CARD, {}, strict) == ()
    (only,) = check_previous(path, CARD, {**previous, "interactions": 0}, ValidateData())
    assert "items of version 3" in only.expectation
    with pytest.raises(ConfigError, match=r"absent\.parquet.*version 3"):
        check_previous(
            path, CARD, {**previous, "items": str(tmp_path / "absent.parquet")}, ValidateData()
        )


def test_the_item_table_comes_from_a_bucket_when_the_registry_is_there(tmp_path, log, monkeypatch):
    path = log([(0, 5), (1, 6)])  # only item x
    items = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["x", "z"]}).write_parquet(items)
    with serve_bucket("models") as (_, address):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        documents = Bucket("gs://models/registry")
        documents.put_all({"versions/000003/model/items.parquet": items})
        uri = documents.uri("versions/000003/model/items.parquet")
        previous = {"version": 3, "interactions": 0, "items": uri}
        (catalogue,) = check_previous(path, CARD, previous, ValidateData())
        assert (catalogue.rows, catalogue.unexpected) == (2, 1)
        with pytest.raises(SourceMissingError, match="no such object"):
            check_previous(path, CARD, {**previous, "items": f"{uri}x"}, ValidateData())
