import pytest

from slmrec.data.source import resolve, snapshot
from slmrec.errors import ConfigError, SourceMissingError


def test_the_digest_changes_when_one_byte_changes(tmp_path):
    log = tmp_path / "log.csv"
    log.write_bytes(b"a,b\n")
    first = snapshot(str(log), "")
    assert snapshot(str(log), "") == first
    assert len(first) == 64
    log.write_bytes(b"a,c\n")
    assert snapshot(str(log), "") != first


def test_the_digest_stays_when_a_file_moves(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.csv").write_bytes(b"x")
    one, two = (snapshot(str(tmp_path / folder / "log.csv"), "") for folder in ("one", "two"))
    assert one == two


def test_items_count_when_they_are_given(tmp_path):
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    log.write_bytes(b"x")
    items.write_bytes(b"y")
    digests = {
        snapshot(str(log), ""),
        snapshot(str(log), str(items)),
        snapshot(str(items), str(log)),
    }
    assert len(digests) == 3


def test_a_sample_is_known_by_its_parameters_when_written_differently():
    assert snapshot("sample:", "") == snapshot("sample:seed=17,users=3000", "")
    assert snapshot("sample:", "") != snapshot("sample:seed=18", "")


def test_the_source_is_refused_when_it_is_not_a_readable_file(tmp_path):
    with pytest.raises(SourceMissingError, match="no source given"):
        snapshot("", "")
    with pytest.raises(SourceMissingError, match=r"absent\.csv: no such file"):
        snapshot(str(tmp_path / "absent.csv"), "")
    with pytest.raises(SourceMissingError, match="directory without data files"):
        snapshot(str(tmp_path), "")
    with pytest.raises(SourceMissingError, match="nothing matches"):
        snapshot(str(tmp_path / "*.csv"), "")
    with pytest.raises(ConfigError, match="gs://BUCKET/OBJECT"):
        snapshot("gs://bucket", "")


def test_the_digest_is_of_all_files_when_the_source_is_a_folder(tmp_path):
    for folder, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / folder).mkdir()
        for name in order:
            (tmp_path / folder / f"{name}.csv").write_text(name)
    one, two = (snapshot(str(tmp_path / folder), "") for folder in ("one", "two"))
    assert one == two
    (tmp_path / "two" / "c.csv").write_text("c")
    assert snapshot(str(tmp_path / "two"), "") != one
    assert snapshot(str(tmp_path / "two" / "[ab].csv"), "") == one


def test_names_are_below_the_fixed_part_when_a_glob_matches(tmp_path):
    for name in ("x/1.csv", "x/y/2.csv", "z/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [file.name for file in resolve(str(tmp_path / "**" / "*.csv"))] == ["1.csv", "y/2.csv"]
    assert [file.name for file in resolve(str(tmp_path))] == ["x/1.csv", "x/y/2.csv", "z/3.txt"]


def test_a_circle_of_links_is_not_walked_when_a_folder_has_one(tmp_path):
    (tmp_path / "log.csv").write_text("x")
    (tmp_path / "again").symlink_to(tmp_path)
    assert [file.name for file in resolve(str(tmp_path))] == ["log.csv"]
