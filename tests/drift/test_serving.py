"""What production makes of a window, with a model whose answers are known."""

from dataclasses import replace
from math import log2

import numpy as np
import pytest

from slmrec.drift.examples import Names, example_lists, moved_items, quality_segments
from slmrec.drift.serving import Serving, look
from slmrec.drift.serving_statistics import compare_people, rank_biased_overlap
from slmrec.drift.windows import Window

ITEMS = 30


class Next:
    """Lists the items behind the last one, in the order of their numbers; knows none above 25."""

    columns = ITEMS + 1

    def __init__(self, step=1):
        self.step = step

    def translated(self, histories):
        return [history[history <= 25] for history in histories]

    def knows(self, items):
        return items <= 25

    def states(self, histories):
        return np.array([[history[-1], len(history)] for history in histories], dtype=np.float32)

    def scores(self, histories):
        scores = np.full((len(histories), self.columns), -np.inf, dtype=np.float32)
        for row, history in enumerate(histories):
            behind = [history[-1] + self.step * n for n in range(1, 12)]
            for place, item in enumerate(item for item in behind if item <= 25):
                scores[row, item] = -place
        return scores

    def best(self, histories, k, *, exclude_seen):
        scores = self.scores(histories)
        for row, history in enumerate(histories):
            scores[row, history] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, axis=1)
        return np.where(best > -np.inf, order, 0), best


def window(rows, start=0):
    users, times, items = np.array(sorted(rows, key=lambda row: row[1]), dtype=np.int64).T
    mask = np.zeros(ITEMS + 1, dtype=bool)
    return Window(start, start + len(rows), users, items, times, np.zeros(200, dtype=bool), mask)


def serving(**more):
    return Serving(Next(), 3, more.pop("trained_until", -1), **more)


def asked(rows, most=100, **more):
    return look(window(rows), serving(**more), most, np.random.default_rng(0))


def test_people_are_asked_from_what_they_did_in_the_window():
    people = asked([(5, 10, 1), (2, 11, 7), (5, 12, 3), (9, 13, 28)])
    # User 9 touched only what production does not know.
    assert people.users.tolist() == [2, 5]
    assert [history.tolist() for history in people.histories] == [[7], [1, 3]]
    assert people.states.tolist() == [[7, 1], [3, 2]]
    assert people.lists[1].tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]


def test_guesses_are_of_what_production_did_not_learn_from():
    rows = [(1, 10, 1), (1, 20, 2), (1, 30, 5), (1, 40, 28)]
    people = asked(rows, trained_until=20)
    row, items, gains = people.guessed
    assert items.tolist() == [5, 28]
    # After 2 item 5 is third of the list; 28 cannot be listed at all.
    assert gains.tolist() == [1 / log2(4), 0.0]
    assert (people.gains.tolist(), people.guesses.tolist()) == ([1 / log2(4)], [2.0])
    assert asked(rows, trained_until=99).guesses.tolist() == [0.0]
    assert asked(rows, trained_until=0).guesses.tolist() == [3.0]
    assert row.tolist() == [0, 0]


def test_nobody_is_asked_where_production_knows_nothing():
    people = asked([(1, 10, 28), (2, 11, 29)])
    assert len(people.users) == len(people.lists) == 0


def test_so_many_are_asked_by_lot_and_their_guesses_stay_theirs():
    rows = [(user, user + at, 1 + user % 7 + at) for user in range(60) for at in range(4)]
    few = asked(rows).by_lot(9, np.random.default_rng(1))
    assert len(few.users) == len(few.histories) == len(few.lists) == 9
    row, items, _ = few.guessed
    for place, item in zip(row.tolist(), items.tolist(), strict=True):
        assert item in few.histories[place][1:].tolist()
    assert len(asked(rows, most=9).users) == 9


def test_rank_biased_overlap_is_the_weighted_mean_of_overlaps():
    one = np.arange(1, 11)[None]
    other = np.array([[1, 3, 2, *range(21, 28)]])
    overlaps = [1, 1 / 2, *(3 / depth for depth in range(3, 11))]
    weights = [0.9**depth for depth in range(10)]
    expected = sum(w * o for w, o in zip(weights, overlaps, strict=True)) / sum(weights)
    assert rank_biased_overlap(one, other).tolist() == pytest.approx([expected])
    assert rank_biased_overlap(one, one).tolist() == pytest.approx([1.0])
    assert rank_biased_overlap(one, one + 50).tolist() == [0.0]
    short = np.array([[3, 1, *[0] * 8]])
    assert rank_biased_overlap(short, short).tolist() == pytest.approx([1.0])


def compared(old, new, **more):
    found = compare_people(
        old,
        new,
        novelty=np.arange(ITEMS + 1, dtype=float),
        permutations=99,
        rng=np.random.default_rng(0),
        **more,
    )
    return {one.name: one for one in found}


def test_figures_of_lists_are_hand_arithmetic():
    previous = {"previous": Next(step=2), "previous_version": 2}
    old = asked([(user, user, 1) for user in range(40)], **previous)
    new = asked([(user, user, 10) for user in range(40)], **previous)
    found = compared(old, new)
    # Lists hold 2 … 11, then 11 … 20; the window touched item 1, then item 10.
    assert found["exposure"].current == pytest.approx(1 - 1 / 10)  # bits; one item of ten is shared
    assert found["list_coverage"].reference == 10 / 40
    assert found["list_novelty"].reference == pytest.approx(6.5)
    assert found["list_novelty"].effect == pytest.approx(9.0)
    assert found["score_margin"].reference == 1.0  # scores are 0, -1, -2 …
    # What served before lists every second item: 3, 5, 7, 9, 11 of 2 … 11.
    assert found["previous_overlap"].reference == 5 / 10
    weights = np.exp(-np.arange(10.0))
    shares = weights / weights.sum()
    assert found["score_entropy"].current == pytest.approx(-(shares * np.log2(shares)).sum())
    assert found["exposure"].p == 1 / 100
    assert "previous_overlap" not in compared(replace(old, before=None), replace(new, before=None))


def test_items_that_nobody_touches_are_dead():
    # Half are shown 2 … 11, half 3 … 12; somebody touched 2, and nobody the others.
    old = asked([(user, user, 1 + user % 2) for user in range(40)])
    new = asked([(user, user, 1) for user in range(40)])
    found = compared(old, new)["dead_items"]
    assert (found.reference, found.current) == (pytest.approx(19 / 20), 1.0)


def test_a_fall_of_quality_is_a_share_of_what_it_was():
    # Before, everybody goes on to the next item; then two of three go to the second next.
    old = asked([(user, user + at, 1 + at) for user in range(60) for at in range(3)])
    rows = [(user, user, 1) for user in range(60)]
    rows += [(user, user + 100, 2 if user < 20 else 3) for user in range(60)]
    found = compared(old, asked(rows))["ndcg"]
    after = (20 + 40 / log2(3)) / 60
    assert (found.reference, found.current) == pytest.approx((1.0, after))
    assert found.effect == pytest.approx(1 - after)
    assert found.p == 1 / 100


def test_quality_is_told_and_not_compared_where_production_learned_from_the_reference():
    rows = [(user, user + 100 * at, 1 + at) for user in range(60) for at in range(2)]
    learned = asked(rows, trained_until=999)
    found = compared(learned, asked(rows))["ndcg"]
    assert (found.reference, found.current, found.effect, found.p) == (None, 1.0, 0.0, 1.0)
    assert compared(learned, learned)["ndcg"].current is None


def test_quality_is_not_compared_where_production_learned_from_part_of_a_window():
    # Then only the late interactions of the old window are guessed, of the new one all.
    rows = [(user, user + 100 * at, 1 + at) for user in range(60) for at in range(3)]
    partly = asked(rows, trained_until=150)
    assert np.count_nonzero(partly.guesses) >= 30
    assert compared(partly, asked(rows))["ndcg"].reference is None


def test_nothing_is_guessed_from_what_production_does_not_know():
    people = asked([(1, 10, 28), (1, 20, 29), (1, 30, 1), (1, 40, 2)])
    assert people.guessed[1].tolist() == [2]


def test_somebody_whom_nothing_is_left_to_list_has_no_margin():
    nothing = asked([(user, user, 25) for user in range(40)])
    assert not nothing.listed.any()
    found = compared(nothing, asked([(user, user, 1) for user in range(40)]))
    assert (found["score_margin"].effect, found["score_margin"].p) == (0.0, 1.0)


def test_items_that_moved_most_come_first():
    old = window([(1, 1, 4), (1, 2, 4), (1, 3, 5), (1, 4, 6)])
    new = window([(1, 1, 5), (1, 2, 5), (1, 3, 5), (1, 4, 6)])
    names = Names(["", *(f"i{n}" for n in range(1, 31))], ["", "", "", "", "Four"])
    assert moved_items(old, new, names) == [
        {"item_id": "i4", "title": "Four", "before": 0.5, "after": 0.0},
        {"item_id": "i5", "title": "i5", "before": 0.25, "after": 0.75},
    ]


def test_examples_are_people_of_both_windows():
    old = asked([(1, 1, 1), (2, 2, 5), (3, 3, 5)])
    new = asked([(2, 4, 5), (3, 5, 20), (4, 6, 1)])
    found = example_lists(old, new, Names(users=["zero", "ann", "bob", "cy"]))
    # Of cy's lists nothing is shared, of bob's everything.
    assert [(one["user"], one["shared"]) for one in found] == [("cy", 0.0), ("bob", 1.0)]
    assert found[0]["before"][0] == "6"
    assert found[0]["after"] == ["21", "22", "23", "24", "25"]
    assert example_lists(old, asked([(7, 1, 1)]), Names()) == []


def test_quality_is_told_by_group():
    old = asked([(user, user + at, 1 + at) for user in range(60) for at in range(3)])
    new = asked(
        [(user, user + at, 1 + at) for user in range(60) for at in range(2)]
        + [(user, 100 + user, 20) for user in range(30)]
    )
    found = {(one["kind"], one["name"]): one for one in quality_segments(old, new)}
    target = found["target", "head"]
    assert (target["reference"]["value"], target["reference"]["users"]) == (1.0, 60)
    assert found["history", "light"]["current"]["value"] == pytest.approx((30 + 30 / 2) / 60)
    assert ("target", "new") not in found  # the reference had no item that it did not have
