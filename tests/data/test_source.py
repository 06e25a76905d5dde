import pytest

from slmrec.data.source import snapshot
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
    with pytest.raises(SourceMissingError, match="is a directory"):
        snapshot(str(tmp_path), "")
    with pytest.raises(ConfigError, match="gs://BUCKET/OBJECT"):
        snapshot("gs://bucket", "")
