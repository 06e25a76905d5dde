import gzip

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmrec.artifacts import open_artifact, publish
from slmrec.columns import Interactions
from slmrec.config import BuildSequences, ColumnNames, IngestInteractions
from slmrec.data.build import build, write_sequences
from slmrec.data.ingest import ingest
from slmrec.data.item_reader import no_items
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
    # `row` counts lines; both kept rows are u1 at 100, so a digest decides which comes first.
    assert sorted(kept.rows()) == [("u1", "i1", 100, 4.0, 2), ("u1", "i2", 100, 5.0, 6)]
    quarantine = pl.read_parquet(log.file("quarantine.parquet"))
    assert quarantine.select("file", "line", "reason").rows() == [
        ("log.csv", 3, "missing item id"),
        ("log.csv", 5, "unparsable time"),
        ("log.csv", 7, "empty line"),
        ("log.csv", 8, "more fields than the header"),
    ]
    assert quarantine["text"][0] == "u1,,4,200"  # user, item, rating, time
    card = log.json("card.json")
    assert card["rows_in"] == 7
    assert (card["kept"], card["filtered"], card["quarantined"]) == (2, 1, 4)
    assert card["quarantine_reasons"]["missing item id"] == 1
    assert (card["users"], card["items"], card["first"], card["last"]) == (1, 2, 100, 100)
    assert card["equal_time_share"] == 1.0


def test_a_row_said_twice_is_set_aside_when_everything_is_equal(ingested):
    log = ingested("user,item,time,rating\nu1,i1,5,4\nu1,i2,7,4\nu1,i1,5,4\nu1,i1,5,3\nu1,i1,5,4\n")
    quarantine = pl.read_parquet(log.file("quarantine.parquet"))
    assert quarantine.rows() == [
        ("log.csv", 4, "duplicate row", "u1,i1,4.0,5"),
        ("log.csv", 6, "duplicate row", "u1,i1,4.0,5"),
    ]
    card = log.json("card.json")
    assert (card["rows_in"], card["kept"], card["quarantined"]) == (5, 3, 2)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"), st.integers(0, 4)),
        min_size=2,
        max_size=30,
    ),
    st.randoms(use_true_random=False),
    st.integers(1, 4),
)
@settings(deadline=None, max_examples=30)
def test_sequences_are_byte_identical_when_rows_are_shuffled_and_split(
    tmp_path_factory, rows, random, files
):
    folder = tmp_path_factory.mktemp("order")
    shuffled = random.sample(rows, len(rows))
    found = []
    for name, parts in (("one", [rows]), ("other", [shuffled[i::files] for i in range(files)])):
        source = folder / name
        source.mkdir()
        for number, part in enumerate(parts):
            lines = "".join(f"{u},{i},{t}\n" for u, i, t in part)
            (source / f"{number}.csv").write_text("user,item,time\n" + lines)
        out = folder / f"{name}-log"
        out.mkdir()
        if not any(parts):
            continue
        ingest(str(source), "", IngestInteractions(), out, Silent())
        config = BuildSequences(
            split="leave_one_out", min_user_interactions=1, min_item_interactions=1
        )
        built = build(out / "interactions.parquet", no_items(), config, Silent())
        sequences = folder / f"{name}-sequences"
        sequences.mkdir()
        write_sequences(sequences, built)
        found.append({path.name: path.read_bytes() for path in sequences.iterdir()})
    assert found[0] == found[1]


def test_order_inside_a_second_is_kept_when_times_are_milliseconds(ingested):
    log = ingested(
        "user,item,time\n"
        "u1,c,1600000000900\nu1,a,1600000000100\nu1,b,1600000000500\nu1,d,1600000000400\n"
    )
    kept = pl.read_parquet(log.file("interactions.parquet"))
    assert kept["item_id"].to_list() == ["a", "d", "b", "c"]
    assert kept["timestamp"].to_list() == [1_600_000_000] * 4


def test_leading_zeros_stay_when_ids_look_like_numbers(ingested):
    log = ingested("user,item,time\n007,0010,5\n7,10,6\n")
    kept = pl.read_parquet(log.file("interactions.parquet"))
    assert kept.select("user_id", "item_id").rows() == [("007", "0010"), ("7", "10")]


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


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n", b"\n\n"])
def test_a_file_of_empty_lines_is_refused_by_its_name(tmp_path, content):
    source = tmp_path / "log.csv"
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"log\.csv: the file is empty"):
        ingest(str(source), "", IngestInteractions(), tmp_path, Silent())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"columns": ColumnNames(rating="starz"), "min_rating": 3}, "no column 'starz'"),
        ({"columns": ColumnNames(rating="starz")}, "no column 'starz'"),
    ],
)
def test_a_rating_that_was_named_has_to_be_there(tmp_path, asked, message):
    source = tmp_path / "log.csv"
    source.write_text("user,item,timestamp,rating\nu1,i1,1,5\n")
    with pytest.raises(DataError, match=message):
        ingest(str(source), "", IngestInteractions(**asked), tmp_path, Silent())


def test_ratings_are_asked_for_when_low_ones_are_to_be_left_out(tmp_path):
    source = tmp_path / "log.csv"
    source.write_text("user,item,timestamp\nu1,i1,1\n")
    with pytest.raises(DataError, match="no column for rating"):
        ingest(str(source), "", IngestInteractions(min_rating=3), tmp_path, Silent())


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
    assert frame[Interactions.USER].is_sorted()
    assert frame.equals(frame.sort(Interactions.USER, Interactions.TIME, maintain_order=True))
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


def test_a_log_is_written_empty_when_every_row_is_set_aside(ingested):
    log = ingested("user,item,timestamp\nu1,,100\n,i2,200\n")
    assert pl.read_parquet(log.file("interactions.parquet")).is_empty()
    card = log.json("card.json")
    assert (card["rows_in"], card["kept"], card["quarantined"]) == (2, 0, 2)
    assert (card["users"], card["first"]) == (0, None)


@pytest.mark.parametrize("content", [b"\x0b\n\x06,a\n", b"\x0c\n", b"\x1c\nx\n"])
def test_an_item_file_is_refused_when_it_begins_with_control_characters(tmp_path, content):
    (tmp_path / "log.csv").write_text("user,item,timestamp\nu1,i1,1\n")
    (tmp_path / "items.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"items\.csv"):
        ingest(
            str(tmp_path / "log.csv"),
            str(tmp_path / "items.csv"),
            IngestInteractions(),
            tmp_path,
            Silent(),
        )


def test_a_file_is_refused_when_polars_panics_over_it(tmp_path, monkeypatch):
    def panic(self, *_, **__):
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    (tmp_path / "log.csv").write_text("user,item,timestamp\nu1,i1,1\n")
    monkeypatch.setattr(pl.LazyFrame, "collect", panic)
    with pytest.raises(DataError, match=r"log\.csv: cannot be read \(called `Result"):
        ingest(str(tmp_path / "log.csv"), "", IngestInteractions(), tmp_path, Silent())
