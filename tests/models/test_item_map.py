from pathlib import Path

import numpy as np
import polars as pl
import pytest

from slmrec.models.item_map import TranslatedServable, item_map
from slmrec.models.servable import Servable
from tests.models.servables import export_small


def catalogue(*ids: str) -> pl.DataFrame:
    counts = [10 * number % 7 for number in range(1, len(ids) + 1)]
    return pl.DataFrame(
        {"item_index": range(1, len(ids) + 1), "item_id": list(ids), "count": counts}
    )


MINE = catalogue("a", "b", "c", "d", "e")
TODAY = catalogue("new", "c", "a", "e", "b")
"""`d` is gone, `new` came, the others have other numbers."""


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Servable:
    return Servable(export_small(tmp_path_factory.mktemp("item-map") / "servable", MINE), threads=1)


def test_numbers_are_matched_by_id() -> None:
    assert item_map(TODAY, MINE).tolist() == [0, 0, 3, 1, 5, 2]
    assert item_map(MINE, TODAY).tolist() == [0, 3, 5, 2, 0, 4]


def history(*items: int) -> np.ndarray:
    return np.asarray(items, dtype=np.int32)


def test_scores_are_those_of_the_same_items(servable: Servable) -> None:
    translated = TranslatedServable(servable, TODAY, "production")
    assert translated.known_share == 4 / 5
    # today's new, c, a are what the model knows as c, a
    scores = translated.scores([history(1, 2, 3), history(2)])
    mine = servable.scores([history(3, 1), history(3)])
    for today, index in ((2, 3), (3, 1), (4, 5), (5, 2)):
        np.testing.assert_allclose(scores[:, today], mine[:, index], atol=1e-6)
    assert (scores[:, [0, 1]] == -np.inf).all()


def test_lists_hold_what_there_is_today(servable: Servable) -> None:
    translated = TranslatedServable(servable, TODAY, "production")
    items, scores = translated.best([history(2), history(5, 3)], 5, exclude_seen=True)
    for line, values, seen in zip(items, scores, ([2], [5, 3]), strict=True):
        listed = line[line > 0].tolist()
        assert set(listed) == {2, 3, 4, 5} - set(seen)
        expected = translated.scores([history(*seen)])[0]
        np.testing.assert_allclose(values[: len(listed)], expected[listed], atol=1e-6)
        assert values[: len(listed)].tolist() == sorted(values[: len(listed)], reverse=True)
        assert (values[len(listed) :] == -np.inf).all()


def test_lists_are_the_servables_own_where_nothing_changed(
    servable: Servable, tmp_path: Path
) -> None:
    translated = TranslatedServable(servable, MINE, "production")
    asked = [history(1, 2), history(5)]
    found, expected = (one.best(asked, 3, exclude_seen=True) for one in (translated, servable))
    assert np.array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1])


def test_who_has_nothing_that_is_known_is_given_what_is_popular(servable: Servable) -> None:
    # in the model's log a, b, c, d, e were touched 3, 6, 2, 5 and 1 times
    translated = TranslatedServable(servable, TODAY, "production")
    nobody, somebody = translated.scores([history(1), history(2)])
    assert nobody.tolist() == [-np.inf, -np.inf, 2, 3, 1, 6]
    assert nobody.tolist() != somebody.tolist()
    items, scores = translated.best([history(1)], 3, exclude_seen=True)
    assert items.tolist() == [[5, 3, 0]]  # of b, d and a, and d is gone
    assert scores.tolist() == [[6, 3, -np.inf]]
