import numpy as np
import polars as pl
import pytest

from slmrec.data.histories import LogFigures, TieOrder, repeated_rows
from slmrec.data.spool import ROW

ITEMS = pl.Series([f"i{number}" for number in range(40)])
SECOND = 1_000_000
NOTHING = float("nan")


def rows_of(*rows: tuple[int, int, float, int, float]) -> np.ndarray:
    return np.array([(u, i, int(t * SECOND), r, v) for u, i, t, r, v in rows], ROW)


def test_rows_are_in_order_of_user_and_moment_when_times_are_fractions():
    rows = rows_of((1, 0, 5.25, 1, 1), (0, 1, 9, 2, 1), (1, 2, 5.125, 3, 1), (0, 3, 8.999999, 4, 1))
    found = TieOrder("content", ITEMS).in_history_order(rows)
    assert found["row"].tolist() == [4, 2, 3, 1]


def test_the_source_decides_ties_when_it_is_trusted():
    rows = rows_of((0, 3, 5, 7, 1), (0, 1, 5, 9, 1), (0, 2, 5, 8, 1))
    assert TieOrder("source", ITEMS).in_history_order(rows)["item"].tolist() == [3, 2, 1]


def test_ties_do_not_follow_the_source_when_content_decides():
    rng = np.random.default_rng(1)
    rows = rows_of(
        *[(user, item, 5 + user, 40 * user + item, 1) for user in range(20) for item in range(40)]
    )
    order = TieOrder("content", ITEMS)
    expected = order.in_history_order(rows)
    shuffled = rows[rng.permutation(len(rows))]
    shuffled["row"] = np.arange(len(rows))
    again = order.in_history_order(shuffled)
    for name in ("user", "item", "moment"):
        assert (again[name] == expected[name]).all()
    histories = expected["item"].reshape(20, 40)
    # No order by item id, and none that another user's moment shares: a model cannot learn it.
    rising = (np.diff(histories, axis=1) > 0).mean()
    assert 0.4 < rising < 0.6
    assert (histories[0] != histories[1]).mean() > 0.8


@pytest.mark.parametrize("ties", ["content", "source"])
def test_equal_rows_are_set_aside_once_when_they_are_said_again(ties):
    rows = rows_of(
        (0, 1, 5, 1, 4),
        (0, 2, 5, 2, 4),
        (0, 1, 5, 3, 4),  # again
        (0, 1, 5, 4, 3),  # another rating
        (0, 1, 6, 5, 4),  # another time
        (1, 1, 5, 6, 4),  # another user
        (1, 3, 7, 7, NOTHING),
        (1, 3, 7, 8, NOTHING),  # again, without a rating
    )
    kept, again, _ = TieOrder(ties, ITEMS).arrange(rows)
    assert sorted(again["row"].tolist()) == [3, 8]
    assert sorted(kept["row"].tolist()) == [1, 2, 4, 5, 6, 7]
    assert not repeated_rows(kept).any()


def test_the_figures_are_those_counted_by_hand_when_partitions_are_added():
    first = rows_of(
        (0, 1, 100, 1, 4), (0, 2, 100, 2, NOTHING), (0, 1, 150, 3, 4), (0, 1, 150, 4, 5)
    )
    second = rows_of((1, 1, 50, 5, 4), (1, 2, 90_000, 6, 4), (1, 1, 90_001, 7, 4))
    figures = LogFigures.of(first)
    figures.add(LogFigures.of(second))
    card = figures.card()
    assert (card["kept"], card["rated"], card["first"], card["last"]) == (7, 6, 50, 90_001)
    assert card["longest_history"] == 4
    # Two moments of two interactions each; three interactions stand alone in their second.
    assert card["equal_time_share"] == round(4 / 7, 6)
    assert card["ties"]["sizes"][:2] == [[1, 3], [2, 4]]
    # User 0 comes back to item 1 after 50 and after 0 seconds, user 1 after 89 951.
    assert card["repeats"]["share"] == round(3 / 7, 6)
    assert dict(map(tuple, card["repeats"]["gaps"])) == {
        **dict.fromkeys((60, 3_600, 604_800, 2_592_000, 31_536_000), 0),
        0: 2,
        86_400: 1,
    }
