import pytest

from slmrec.data.listing import changed_share, parse_files
from slmrec.data.sample import parse_sample
from slmrec.data.source import list_source, snapshot

DAYS = {"day1": (100, "a"), "day2": (100, "b"), "day3": (200, "c")}  # 400 bytes


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, 0.0),
        ({"day4": (40, "d")}, 40 / 400),  # a file more
        ({"day3": (220, "x")}, 20 / 400),  # one that was appended to
        ({"day3": (200, "x")}, 200 / 400),  # rewritten, as long as before
        ({"day3": (50, "x")}, 200 / 400),  # rewritten and shorter: more went than came
        ({"day1": None}, 100 / 400),
        ({"day1": None, "day4": (130, "d")}, 130 / 400),  # a window that moves on
        ({"day1": None, "day2": None, "day3": None}, 1.0),
        ({"day1": None, "first": (100, "a")}, 100 / 400),  # a new name tells another origin
    ],
)
def test_the_share_is_what_came_or_went_over_what_there_was(changes, share):
    now = {name: file for name, file in {**DAYS, **changes}.items() if file is not None}
    assert changed_share(DAYS, now) == pytest.approx(share)


def test_all_is_new_when_there_was_nothing():
    assert changed_share({}, {"a": (7, "d")}) == 7.0  # of at least one byte
    assert changed_share({}, {}) == 0.0


def test_a_listing_holds_every_file_of_both_sources_with_its_size(tmp_path):
    for name, content in (("log/a.csv", "12345"), ("log/b.csv", "1"), ("items.csv", "abc")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    found = list_source(str(tmp_path / "log"), str(tmp_path / "items.csv"))
    assert {name: size for name, (size, _) in found.files.items()} == {
        "interactions/a.csv": 5,
        "interactions/b.csv": 1,
        "items/items.csv": 3,
    }
    assert found.size == 9
    assert found.digest == snapshot(str(tmp_path / "log"), str(tmp_path / "items.csv"))
    (tmp_path / "log" / "a.csv").write_text("1234567")
    later = list_source(str(tmp_path / "log"), str(tmp_path / "items.csv"))
    assert changed_share(found.files, later.files) == 2 / 9


def test_a_sample_counts_by_its_interactions_and_another_one_is_all_new():
    small, large = (list_source(f"sample:users={users}", "") for users in (100, 200))
    ((name, (interactions, _)),) = small.files.items()
    assert name == f"interactions/{parse_sample('sample:users=100').uri()}"
    assert interactions == small.size == parse_sample("sample:users=100").interactions
    assert changed_share(small.files, large.files) >= 1


@pytest.mark.parametrize("entry", [[1], [1, 2], ["1", "d"], 7, {"size": 1}])
def test_files_are_refused_when_they_are_other_json(entry):
    with pytest.raises(ValueError, match=r"'log' is .*, expected a size and a digest"):
        parse_files({"log": entry})
    assert parse_files({"log": [1, "d"]}) == {"log": (1, "d")}
