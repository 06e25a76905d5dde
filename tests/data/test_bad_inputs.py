"""Every bad input ends in the quarantine or in a clear refusal, quickly and in little memory."""

import importlib.util
import time
from pathlib import Path

import polars as pl
import pytest

from slmrec.config import IngestInteractions
from slmrec.data.ingest import ingest
from slmrec.errors import DataError
from slmrec.progress import Silent
from tests.faults import child

_specification = importlib.util.spec_from_file_location(
    "bad_inputs", Path(__file__).with_name("bad_inputs.py")
)
bad_inputs = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(bad_inputs)
CASES = bad_inputs.cases()
SECONDS = 5.0


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_outcome_is_the_expected_one_when_the_input_is_bad(case, tmp_path):
    path = bad_inputs.write(case, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    started = time.process_time()
    if case.refused:
        with pytest.raises(DataError) as caught:
            ingest(str(path), "", IngestInteractions(), out, Silent())
        message = str(caught.value)
        assert case.file in message
        for word in case.refused:
            assert word in message
    else:
        card = ingest(str(path), "", IngestInteractions(), out, Silent())
        assert card["quarantine_reasons"] == case.reasons
        assert card["kept"] == case.kept
        assert card["rows_in"] == card["kept"] + card["filtered"] + card["quarantined"]
        assert len(pl.read_parquet(out / "quarantine.parquet")) == card["quarantined"]
        assert len(pl.read_parquet(out / "interactions.parquet")) == card["kept"]
    assert time.process_time() - started < SECONDS


HUGE = (
    "a field of 1 MB",
    "a bomb of zeros",
    "a bomb in one line",
    "one line of 65 MB",
    "a footer that promises petabytes",
    "a deep line",
)


def test_memory_stays_below_a_gigabyte_when_the_inputs_are_huge(tmp_path):
    logs = []
    for name in HUGE:
        (case,) = [case for case in CASES if case.name == name]
        (tmp_path / name).mkdir()
        logs.append(bad_inputs.write(case, tmp_path / name))
    (tmp_path / "out").mkdir()
    outcome = child.call(child.all_ingested, logs, tmp_path / "out")
    assert outcome.error == ""
    assert outcome.peak_mb < 1024, "of one of them; the process's imports are in it"


def test_columns_are_matched_file_by_file_when_the_schema_changes(tmp_path):
    source = tmp_path / "log"
    source.mkdir()
    (source / "1.csv").write_text("user,item,timestamp\nu1,i1,5\n")
    (source / "2.csv").write_text("timestamp,rating,item,user\n6,4.5,i2,u2\n")
    out = tmp_path / "out"
    out.mkdir()
    ingest(str(source), "", IngestInteractions(), out, Silent())
    frame = pl.read_parquet(out / "interactions.parquet")
    assert frame.drop("row").rows() == [("u1", "i1", 5, None), ("u2", "i2", 6, 4.5)]


def test_the_file_is_named_when_the_schema_loses_a_column(tmp_path):
    source = tmp_path / "log"
    source.mkdir()
    (source / "1.csv").write_text("user,item,timestamp\nu1,i1,5\n")
    (source / "2.csv").write_text("user,item\nu1,i1\n")
    with pytest.raises(DataError, match=r"2\.csv: no column for timestamp"):
        ingest(str(source), "", IngestInteractions(), tmp_path, Silent())
