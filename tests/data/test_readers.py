import gzip
import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slmrec.config import ColumnNames, IngestInteractions
from slmrec.data.item_reader import read_items
from slmrec.data.readers import open_log
from slmrec.errors import DataError, SourceMissingError
from slmrec.progress import Silent

AUTO = IngestInteractions()


class Spoken(Silent):
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


def opened(path, settings=AUTO, progress=None):
    return open_log(str(path), settings, path.parent / "scratch", progress or Silent())


def rows(path, settings=AUTO):
    frame = pl.concat(batch for part in opened(path, settings).parts for batch in part.batches())
    assert frame["malformed"].null_count() == len(frame)
    found = frame.select("line", "user_id", "item_id", "timestamp", "rating").rows()
    return [(line, *(None if v is None else str(v) for v in values)) for line, *values in found]


def malformed(path, settings=AUTO):
    frame = pl.concat(batch for part in opened(path, settings).parts for batch in part.batches())
    return frame.filter(pl.col("malformed").is_not_null()).select("line", "malformed", "raw").rows()


def packed(name, content):
    """Give the file's bytes plain, with gzip and with zstd."""
    zstd = pa.compress(content, codec="zstd", asbytes=True)
    return ((name, content), (f"{name}.gz", gzip.compress(content)), (f"{name}.zst", zstd))


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
        ("ratings_Toys.csv", b"u1,i1,4,10\nu2,i2,3.5,20\n"),
        (
            "toys.inter",
            b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
            b"u1\ti1\t4\t10\nu2\ti2\t3.5\t20\n",
        ),
        (
            "Toys_5.json",
            b'{"reviewerID": "u1", "asin": "i1", "overall": 4, "unixReviewTime": 10}\n'
            b'{"reviewerID": "u2", "asin": "i2", "overall": 3.5, "unixReviewTime": 20, "vote": []}\n',
        ),
    ],
)
def test_the_same_rows_are_read_when_the_format_differs(tmp_path, name, content):
    first = 1 if name in ("ratings.dat", "u.data", "ratings_Toys.csv") or "json" in name else 2
    expected = [(first, "u1", "i1", "10", "4"), (first + 1, "u2", "i2", "20", "3.5")]
    for file, data in packed(name, content):
        (tmp_path / file).write_bytes(data)
        assert rows(tmp_path / file) == expected, file


@pytest.mark.parametrize("before", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n"])
def test_empty_lines_before_the_header_are_no_rows(tmp_path, before):
    ends = b"\r\n" if b"\r" in before else b"\n"
    path = tmp_path / "log.csv"
    path.write_bytes(before + b"user_id,item_id,timestamp" + ends + b"u1,i1,10" + ends)
    assert rows(path) == [(2 + before.count(b"\n"), "u1", "i1", "10", None)]
    items = tmp_path / "items.csv"
    items.write_bytes(before + b"item_id,title" + ends + b"i1,One" + ends)
    read = read_items(str(items), AUTO, tmp_path / "scratch", Silent())
    assert read["item_id"].to_list() == ["i1"]


def test_parquet_is_read_when_its_columns_are_typed(tmp_path):
    path = tmp_path / "log.parquet"
    times = pl.Series([10_000, 20_000]).cast(pl.Datetime("ms"))
    pl.DataFrame({"user": [7, 8], "item": ["i1", "i2"], "time": times}).write_parquet(path)
    assert opened(path).time_format.name.startswith("typed")
    assert rows(path) == [(1, "7", "i1", "10000000", None), (2, "8", "i2", "20000000", None)]


def test_columns_are_mapped_when_the_configuration_names_them(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("who,what,when,user\nu1,i1,10,wrong\n")
    settings = IngestInteractions(
        columns=ColumnNames(user="who", item="what", timestamp="when"),
    )
    assert rows(path, settings) == [(2, "u1", "i1", "10", None)]


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
    path.write_text("u1::i1::4::1362062307000\n")
    spoken = Spoken()
    opened(path, progress=spoken)
    assert spoken.lines == [
        "ratings.dat: read as MovieLens, '::' between fields",
        "times read as milliseconds",
    ]
    path = tmp_path / "log.csv"
    path.write_text("who,item_id,ts\nu1,i1,10\n")
    spoken = Spoken()
    opened(path, IngestInteractions(columns=ColumnNames(user="who")), spoken)
    assert spoken.lines[0].endswith("user_id from 'who', timestamp from 'ts'")


def test_columns_are_in_their_places_when_amazons_ratings_are_of_2018(tmp_path):
    path = tmp_path / "Movies.csv"
    path.write_text("i1,u1,4,10\n")
    assert rows(path, IngestInteractions(format="amazon-2018")) == [(1, "u1", "i1", "10", "4")]
    assert rows(path, IngestInteractions(format="amazon-2014")) == [(1, "i1", "u1", "10", "4")]


def test_positions_are_the_times_when_a_line_is_a_history(tmp_path):
    path = tmp_path / "toys.txt"
    path.write_bytes(b"1 30 20\r\n2 20\n3\n\n1 7 8\n")
    log = opened(path)
    assert log.order_only
    frame = pl.concat(batch for part in log.parts for batch in part.batches())
    sound = frame.filter(pl.col("malformed").is_null())
    assert sound.select("line", "user_id", "item_id", "timestamp").rows() == [
        (1, "1", "30", 0),
        (1, "1", "20", 1),
        (2, "2", "20", 0),
    ]
    assert malformed(path) == [
        (3, "a user without items", "3"),
        (4, "empty line", ""),
        (5, "second line of a user", "1 7 8"),
        (5, "second line of a user", "1 7 8"),
    ]


def test_a_user_has_one_line_when_histories_lie_in_several_files(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    (log / "a.txt").write_text("1 30 20\n2 20 10\n")
    (log / "b.txt").write_text("3 20 10\n1 7 8\n")
    parts = opened(log).parts
    for _ in range(2):  # every time that they are read
        frame = pl.concat(batch for part in parts for batch in part.batches())
        assert frame.filter(pl.col("malformed").is_null())["user_id"].unique(
            maintain_order=True
        ).to_list() == ["1", "2", "3"]
        assert frame.drop_nulls("malformed").select("line", "malformed", "raw").rows() == [
            (2, "second line of a user", "1 7 8"),
            (2, "second line of a user", "1 7 8"),
        ]


def test_lines_are_counted_when_fields_hold_line_ends(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        'user,item,title,time\nu1,i1,"a\nb",1\nu2,i2,"c",2\nu3,i3,"\n\n",3\nu4,i4,d,4\n'
    )
    assert [row[0] for row in rows(path)] == [2, 4, 5, 8]


def test_quotes_are_letters_when_they_would_swallow_lines(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text('user,item,time\nu1,"i1,1\nu2,i2,2\nu3,i3",3\n')
    assert [row[2] for row in rows(path)] == ['"i1', "i2", 'i3"']


def test_bad_lines_are_named_when_json_is_mixed(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = ['{"user": 1, "item": "a", "time": 5}', "{bad", "[1]", "", '{"user": {"id": 1}}', "NaN"]
    path.write_text("\n".join(lines) + "\n" + '{"item": "b", "user": "007", "time": 6.5}\n')
    assert malformed(path) == [
        (2, "not a JSON object", "{bad"),
        (3, "not a JSON object", "[1]"),
        (4, "empty line", ""),
        (5, "a field is no text or number", '{"user": {"id": 1}}'),
        (6, "not a JSON object", "NaN"),
    ]
    frame = pl.concat(batch for part in opened(path).parts for batch in part.batches())
    sound = frame.filter(pl.col("malformed").is_null())
    assert sound.select("user_id", "item_id", "timestamp").rows() == [
        ("1", "a", "5"),
        ("007", "b", "6.5"),
    ]


def test_files_are_read_by_name_when_the_source_is_a_folder(tmp_path):
    folder = tmp_path / "log"
    (folder / "day=2").mkdir(parents=True)
    (folder / "b.csv").write_text("user,item,time\nu2,i2,2\n")
    (folder / "day=2" / "a.csv.gz").write_bytes(gzip.compress(b"time,user,item\n3,u3,i3\n"))
    pl.DataFrame({"user": ["u1"], "item": ["i1"], "time": [1]}).write_parquet(folder / "a.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / ".a.parquet.crc").write_text("x")
    log = opened(folder)
    assert [part.name for part in log.parts] == ["a.parquet", "b.csv", "day=2/a.csv.gz"]
    assert [
        row["user_id"] for part in log.parts for b in part.batches() for row in b.to_dicts()
    ] == [
        "u1",
        "u2",
        "u3",
    ]
    (folder / "c.csv").write_text("name,price\nx,1\n")
    with pytest.raises(DataError, match=r"c\.csv: no column for user_id"):
        opened(folder)


def test_files_are_refused_when_only_some_have_times(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,time\nu2,i2,2\n")
    (tmp_path / "b.txt").write_text("u1 i1 i2\n")
    with pytest.raises(DataError, match="files without"):
        open_log(str(tmp_path), AUTO, tmp_path / "scratch", Silent())
    times = pl.Series([1]).cast(pl.Datetime("us"))
    (tmp_path / "b.txt").unlink()
    pl.DataFrame({"user": ["u1"], "item": ["i1"], "time": times}).write_parquet(
        tmp_path / "b.parquet"
    )
    with pytest.raises(DataError, match="has typed timestamps"):
        open_log(str(tmp_path), AUTO, tmp_path / "scratch", Silent())


@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_is_read_when_a_group_has_no_rows(tmp_path, dictionary):
    table = pa.table({"user": ["a", "b"], "item": ["x", "y"], "time": [5, 6]})
    path = tmp_path / "log.parquet"
    with pq.ParquetWriter(path, table.schema, use_dictionary=dictionary) as writer:
        for part in (table.slice(0, 0), table, table.slice(0, 0)):
            writer.write_table(part)
    assert [row[1:3] for row in rows(path, AUTO)] == [("a", "x"), ("b", "y")]


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
    found = read_items(str(path), AUTO, tmp_path / "s", Silent()).fill_null("").rows()
    assert found == [("1", "Été, le film", "A|B"), ("2", "Two", "")]


def test_metadata_is_read_when_it_is_amazons(tmp_path):
    path = tmp_path / "meta.json"
    new = {"asin": "1", "title": "One", "category": ["Toys", "Games"]}
    old = "{'asin': '2', 'title': \"It's\", 'categories': [['Toys', 'Games'], ['Toys']]}"
    path.write_text(json.dumps(new) + "\n" + old + "\n__import__('os')\n")
    assert read_items(str(path), AUTO, tmp_path / "s", Silent()).rows() == [
        ("1", "One", "Toys|Games"),
        ("2", "It's", None),
    ]
    path.write_text(old + "\n")
    found = read_items(str(path), AUTO, tmp_path / "s", Silent())
    assert found.rows() == [("2", "It's", "Toys|Games|Toys")]


def test_half_a_surrogate_pair_is_replaced_when_an_item_holds_one(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"item": "i1", "title": "a\\ud800b \\ud83d\\ude00", "\\udc00": 1}\n')
    found = read_items(str(path), AUTO, tmp_path / "s", Silent())
    assert found.rows() == [("i1", "a\ufffdb \U0001f600", None)]


def test_the_first_of_two_is_kept_when_two_keys_of_an_item_become_one(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"item": "i1", "t\\ud800": "first", "t\\ud801": "second"}\n' * 2)
    named = IngestInteractions(columns=ColumnNames(title="t\ufffd"))
    found = read_items(str(path), named, tmp_path / "s", Silent())
    assert found.rows() == [("i1", "first", None)]


def test_genres_are_named_when_the_items_are_movielens_100k(tmp_path):
    flags = ["0"] * 19
    flags[1] = flags[5] = "1"  # Action and Comedy in the order of u.genre
    path = tmp_path / "u.item"
    path.write_bytes("|".join(["1", "Amélie (2001)", "d", "", "url", *flags]).encode("latin-1"))
    assert read_items(str(path), AUTO, tmp_path / "s", Silent()).rows() == [
        ("1", "Amélie (2001)", "Action|Comedy")
    ]


def test_the_item_column_is_recognised_when_the_mapping_names_the_one_of_the_log(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text("item_id,label\n1,One\n")
    settings = IngestInteractions(columns=ColumnNames(item="what", title="label"))
    assert read_items(str(path), settings, tmp_path / "s", Silent()).rows() == [("1", "One", None)]
