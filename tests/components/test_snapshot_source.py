import pytest

from components.snapshot_source.step import run


def test_the_digest_comes_back_when_the_source_exists(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("x")
    metadata = run(str(log), "", str(tmp_path / "registry"))
    assert len(metadata["digest"]) == 64
    assert metadata["previous"] == ""
    assert metadata["digest"][:12] in metadata["headline"]


def test_the_process_ends_with_two_when_the_source_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        run(str(tmp_path / "absent.csv"), "", str(tmp_path / "registry"))
    assert caught.value.code == 2
    assert "absent.csv: no such file" in capsys.readouterr().err
