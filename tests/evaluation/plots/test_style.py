from slmrec.evaluation.plots.style import LONGEST_NAME, legible


def test_names_of_variants_stay_what_they_are() -> None:
    assert legible("a" * LONGEST_NAME) == "a" * LONGEST_NAME


def test_a_name_is_one_line_and_leaves_room() -> None:
    assert legible("two\n\n lines") == "two lines"
    assert legible("b" * 500) == "b" * (LONGEST_NAME - 1) + "…"
