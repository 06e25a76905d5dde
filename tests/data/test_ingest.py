import gzip

import polars as pl
import pytest

from slmrec.artifacts import open_artifact, publish
from slmrec.columns import Interactions
from slmrec.config import IngestInteractions
from slmrec.data.ingest import ingest
from slmrec.errors import ConfigError, DataError
from slmrec.progress import Silent

MIXED = """user,item,timestamp,rating
u1,i1,100,4
u1,,200,4
u2,i1,100,1
u2,i2,never,5
u1,i2,100,5

u3,i3,300,3,surplus
"""


def test_every_row_is_accounted_for_when_some_are_bad(ingested):
    log = ingested(MIXED, min_rating=2)
    kept = pl.read_parquet(log.file("interactions.parquet"))
    assert kept.rows() == [("u1", "i1", 100, 4.0, 1), ("u1", "i2", 100, 5.0, 5)]
    quarantine = pl.read_parquet(log.file("quarantine.parquet"))
    assert quarantine.rows() == [
        (2, "missing item id", "u1,200,4"),
        (4, "unparsable time", "u2,i2,never,5"),
        (6, "empty line", ""),
        (7, "more fields than the header", "u3,i3,300,3,surplus"),
    ]
    card = log.json("card.json")
    assert card["rows_in"] == 7
    assert (card["kept"], card["filtered"], card["quarantined"]) == (2, 1, 4)
    assert card["quarantine_reasons"]["missing item id"] == 1
    assert (card["users"], card["items"], card["first"], card["last"]) == (1, 2, 100, 100)
    # Both kept rows are u1 at 100.
    assert card["equal_time_share"] == 1.0


def test_bytes_are_equal_when_a_log_is_ingested_twice(tmp_path, ingested):
    first = ingested(MIXED).digest
    assert ingested(MIXED).digest == first


def test_a_bad_byte_costs_one_row_when_it_sits_in_an_id(tmp_path):
    source = tmp_path / "log.csv"
    source.write_bytes(b"user,item,timestamp\nu\xff,i1,1\nu2,i1,2\n")
    card = ingest(str(source), "", IngestInteractions(), tmp_path, Silent())
    assert card["quarantine_reasons"] == {"user id is not UTF-8": 1}
    assert card["kept"] == 1


def test_quotes_are_letters_when_they_do_not_pair(tmp_path):
    source = tmp_path / "log.csv"
    source.write_text('user,item,timestamp\nu1,i"1,1\nu2,"i2,2\nu3,i3,3\n')
    card = ingest(str(source), "", IngestInteractions(), tmp_path, Silent())
    assert card["kept"] == 3
    assert set(pl.read_parquet(tmp_path / "interactions.parquet")["item_id"]) == {
        'i"1',
        '"i2',
        "i3",
    }


def test_the_file_is_refused_when_it_ends_early(tmp_path):
    source = tmp_path / "log.csv.gz"
    packed = gzip.compress(b"user,item,timestamp\n" + b"u1,i1,1\nu2,i2,2\n" * 50_000)
    source.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"log\.csv\.gz"):
        ingest(str(source), "", IngestInteractions(), tmp_path, Silent())


def test_the_file_is_refused_when_it_has_a_header_only(tmp_path):
    source = tmp_path / "log.csv"
    source.write_text("user,item,timestamp\n")
    with pytest.raises(DataError, match="no rows"):
        ingest(str(source), "", IngestInteractions(), tmp_path, Silent())


def test_sample_rows_are_canonical_when_ingested(tmp_path):
    uri = "sample:users=50,items=60,interactions=900,seed=1"
    with publish(tmp_path / "log", "interactions") as directory:
        card = ingest(uri, "", IngestInteractions(min_rating=3), directory, Silent())
    log = open_artifact(tmp_path / "log")
    frame = pl.read_parquet(log.file("interactions.parquet"))
    assert frame.columns == ["user_id", "item_id", "timestamp", "rating", "row"]
    assert frame[Interactions.ROW].is_sorted()
    assert frame["rating"].min() >= 3
    assert card["rows_in"] == 900 == card["kept"] + card["filtered"]
    assert card["filtered"] > 0
    with pytest.raises(ConfigError, match="expected it empty"):
        ingest(uri, "movies.csv", IngestInteractions(), tmp_path, Silent())


def test_movietweetings_is_whole_when_ingested(tmp_path, real_data):
    folder = real_data / "movietweetings"
    card = ingest(
        str(folder / "ratings_2013-11-06.dat.gz"),
        str(folder / "movies.dat.gz"),
        IngestInteractions(),
        tmp_path,
        Silent(),
    )
    assert (card["users"], card["items"], card["kept"]) == (21_081, 12_611, 141_695)
    assert card["rows_in"] == 141_695
    items = pl.read_parquet(tmp_path / "items.parquet")
    titles = dict(items.select("item_id", "title").iter_rows())
    assert titles["0000010"] == "La sortie des usines Lumière (1895)"


def test_movielens_is_whole_when_ingested(tmp_path, real_data):
    folder = real_data / "ml-latest-small"
    card = ingest(
        str(folder / "ratings.csv.gz"),
        str(folder / "movies.csv.gz"),
        IngestInteractions(min_rating=3),
        tmp_path,
        Silent(),
    )
    assert card["rows_in"] == 100_836 == card["kept"] + card["filtered"]
    assert card["described_items"] == 9_742
