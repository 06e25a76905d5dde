import gzip

import polars as pl
import pytest

from slmrec.config import ColumnNames, IngestInteractions
from slmrec.data.readers import read_interactions, read_items
from slmrec.errors import DataError, SourceMissingError
from slmrec.progress import Silent

AUTO = IngestInteractions()


class Spoken(Silent):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def rows(path, settings=AUTO):
    frame = read_interactions(path, settings, Silent()).collect()
    return frame.select("row", "user_id", "item_id", "timestamp", "rating").rows()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", b"user_id,item_id,timestamp,rating\nu1,i1,10,4\nu2,i2,20,3.5\n"),
        (
            "log.csv",
            b"\xef\xbb\xbfuserId,movieId,rating,timestamp\r\nu1,i1,4,10\r\nu2,i2,3.5,20\r\n",
        ),
        ("log.tsv", b"uid\tasin\toverall\tunixReviewTime\nu1\ti1\t4\t10\nu2\ti2\t3.5\t20\n"),
        ("log.csv", b'Rating;User-ID;"parent_asin";ts\n4;u1;i1;10\n3.5;u2;"i2";20'),
        ("ratings.dat", b"u1::i1::4::10\nu2::i2::3.5::20\n"),
        ("u.data", b"u1\ti1\t4\t10\nu2\ti2\t3.5\t20\n"),
    ],
)
def test_the_same_rows_are_read_when_the_format_differs(tmp_path, name, content):
    expected = [(1, "u1", "i1", "10", "4"), (2, "u2", "i2", "20", "3.5")]
    plain = tmp_path / name
    plain.write_bytes(content)
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content))
    assert rows(plain) == expected
    assert rows(packed) == expected


def test_parquet_is_read_when_its_columns_are_typed(tmp_path):
    path = tmp_path / "log.parquet"
    times = pl.Series([10_000, 20_000]).cast(pl.Datetime("ms"))
    pl.DataFrame({"user": [7, 8], "item": ["i1", "i2"], "time": times}).write_parquet(path)
    assert rows(path) == [(1, "7", "i1", "10", None), (2, "8", "i2", "20", None)]


def test_columns_are_mapped_when_the_configuration_names_them(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("who,what,when,user\nu1,i1,10,wrong\n")
    settings = IngestInteractions(
        columns=ColumnNames(user="who", item="what", timestamp="when"),
    )
    assert rows(path, settings) == [(1, "u1", "i1", "10", None)]


def test_the_columns_are_named_when_one_is_missing(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("who,item,timestamp\nu1,i1,10\n")
    with pytest.raises(DataError) as caught:
        rows(path)
    message = str(caught.value)
    assert all(
        word in message
        for word in ("log.csv", "who, item, timestamp", "ingest_interactions.columns.user")
    )
    settings = IngestInteractions(columns=ColumnNames(user="person"))
    with pytest.raises(DataError, match=r"no column 'person'.*found: who, item, timestamp"):
        rows(path, settings)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_the_file_is_refused_when_it_is_empty(tmp_path, content):
    for name, data in (("log.csv", content), ("log.csv.gz", gzip.compress(content))):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DataError, match="is empty"):
            rows(path)


def test_the_file_is_refused_when_it_is_not_what_was_said(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,timestamp\n1,2,3\n")
    with pytest.raises(DataError, match="does not start like a Parquet file"):
        rows(path, IngestInteractions(format="parquet"))
    pl.DataFrame({"user": ["a"]}).write_parquet(path)
    with pytest.raises(DataError, match="is a Parquet file"):
        rows(path, IngestInteractions(format="csv"))
    with pytest.raises(SourceMissingError):
        rows(tmp_path / "absent.csv")


def test_the_assumption_is_said_when_the_format_is_recognised(tmp_path):
    path = tmp_path / "ratings.dat"
    path.write_text("u1::i1::4::10\n")
    spoken = Spoken()
    read_interactions(path, AUTO, spoken)
    assert spoken.lines == ["ratings.dat: read as MovieLens, '::' between fields"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("movies.csv", 'movieId,title,genres\n1,"Été, le film",A|B\n2,Two,\n'.encode()),
        ("movies.dat", "1::Été, le film::A|B\n2::Two::\n".encode("latin-1")),
        (
            "movies.dat.gz",
            gzip.compress("1::Été, le film::A|B\n2::Two::\n1::Again::\n".encode(), mtime=0),
        ),
    ],
    ids=["csv", "latin-1", "gzip"],
)
def test_items_are_read_when_the_format_differs(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    found = read_items(path, AUTO, Silent()).fill_null("").rows()
    assert found == [("1", "Été, le film", "A|B"), ("2", "Two", "")]


def test_genres_are_named_when_the_items_are_movielens_100k(tmp_path):
    flags = ["0"] * 19
    flags[1] = flags[5] = "1"  # Action and Comedy in the order of u.genre
    path = tmp_path / "u.item"
    path.write_bytes("|".join(["1", "Amélie (2001)", "d", "", "url", *flags]).encode("latin-1"))
    assert read_items(path, AUTO, Silent()).rows() == [("1", "Amélie (2001)", "Action|Comedy")]


def test_the_item_column_is_recognised_when_the_mapping_names_the_one_of_the_log(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,label\n1,One\n")
    settings = IngestInteractions(columns=ColumnNames(item="what", title="label"))
    assert read_items(path, settings, Silent()).rows() == [("1", "One", None)]
