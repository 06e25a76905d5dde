"""The page of promises, as it is written and read again."""

from benchmarks.reliability import PROMISES, page, rows_of

COUNTED = {
    3: {"row": 3, "promise": "a | b", "asked": "all", "measured": "5 of 5", "seconds": 1234.4},
    "fuzz": {"row": "fuzz", "promise": "p", "asked": "a", "measured": "m", "seconds": None},
}


def test_a_page_gives_the_rows_that_it_was_made_of() -> None:
    found = rows_of(page(COUNTED))
    assert set(found) == {3, "fuzz"}
    assert found[3] == {**COUNTED[3], "row": "3", "seconds": 1234}
    assert found["fuzz"] == COUNTED["fuzz"]
    assert page(found) == page(COUNTED)


def test_rows_that_nobody_counted_are_named() -> None:
    text = page(COUNTED)
    assert text.count("| not measured |") == len(PROMISES) - 1


def test_a_new_count_takes_the_place_of_the_one_before() -> None:
    again = {3: COUNTED[3] | {"measured": "6 of 6"}}
    text = page(rows_of(page(COUNTED)) | again)
    assert "6 of 6" in text
    assert "5 of 5" not in text
    assert "| fuzz | p | a | m |" in text
