import polars as pl
import pytest

from slmrec.config import IngestInteractions
from slmrec.data.ingest import ingest
from slmrec.data.sample import parse_sample, sample_interactions, sample_items
from slmrec.data.sample_files import SUFFIXES, sample_paths, write_sample
from slmrec.errors import ConfigError
from slmrec.progress import Silent

SAMPLE = parse_sample("sample:users=40,items=60,interactions=500")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_files_hold_the_sample_and_are_read_as_what_they_are(tmp_path, suffix):
    log = tmp_path / "made" / f"log{suffix}"
    write_sample(SAMPLE, log, Silent())
    assert sample_paths(log) == (log, log.with_name(f"log-items{suffix}"))
    assert {path.name for path in log.parent.iterdir()} == {f"log{suffix}", f"log-items{suffix}"}
    read = pl.read_parquet if suffix == ".parquet" else pl.read_csv
    expected = pl.concat(sample_interactions(SAMPLE))
    assert read(log).cast(expected.schema).equals(expected)
    assert read(sample_paths(log)[1]).equals(sample_items(SAMPLE))
    card = ingest(str(log), str(sample_paths(log)[1]), IngestInteractions(), tmp_path, Silent())
    assert (card["kept"], card["quarantined"], card["described_items"]) == (500, 0, 60)


def test_the_same_sample_gives_the_same_bytes(tmp_path):
    for name in ("a.parquet", "b.parquet"):
        write_sample(SAMPLE, tmp_path / name, Silent())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_name_that_says_no_format_is_refused(tmp_path):
    for name in ("log.xlsx", "log", ".csv"):
        with pytest.raises(ConfigError, match=r"expected a name that ends in \.parquet, \.csv"):
            sample_paths(tmp_path / name)


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    def broken(_):
        yield next(sample_interactions(SAMPLE))
        raise OSError("disk full")

    monkeypatch.setattr("slmrec.data.sample_files.sample_interactions", broken)
    with pytest.raises(OSError, match="disk full"):
        write_sample(SAMPLE, tmp_path / "log.csv", Silent())
    assert {path.name for path in tmp_path.iterdir()} == {"log-items.csv"}
