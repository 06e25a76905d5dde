import numpy as np
import polars as pl
import pytest

from slmrec.data.sample import (
    END,
    SHIFT_SHARE,
    YEAR,
    Sample,
    parse_sample,
    sample_interactions,
    sample_items,
)
from slmrec.data.sample_titles import GENRES
from slmrec.errors import ConfigError

SMALL = Sample(users=400, items=300, interactions=12_000, seed=5)


def log_of(sample: Sample) -> pl.DataFrame:
    return pl.concat(list(sample_interactions(sample)))


def test_parameters_are_read_when_the_uri_names_some():
    assert parse_sample("sample:") == Sample(3_000, 1_500, 100_000, 17)
    assert parse_sample("sample:seed=3,users=300") == Sample(300, 1_500, 100_000, 3)
    assert parse_sample(SMALL.uri()) == SMALL


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sample:user=3", ["'user=3'", "users", "seed"]),
        ("sample:users", ["'users'", "NAME=NUMBER"]),
        ("sample:users=1e3", ["'1e3'", "whole number"]),
        ("sample:users=-1", ["'-1'"]),
        ("sample:users=5,users=6", ["twice"]),
        ("sample:users=0", ["users is 0"]),
        ("sample:items=3", ["items is 3", "48"]),
        ("sample:users=10,interactions=9", ["interactions is 9", "10 users"]),
    ],
)
def test_the_uri_is_refused_when_a_parameter_is_wrong(uri, words):
    with pytest.raises(ConfigError) as caught:
        parse_sample(uri)
    assert caught.value.exit_code == 2
    assert all(word in str(caught.value) for word in words)


def test_sizes_are_exact_when_they_are_asked_for():
    log = log_of(SMALL)
    assert len(log) == 12_000
    assert log["user_id"].n_unique() == 400
    assert set(log["item_id"]) <= set(sample_items(SMALL)["item_id"])
    assert len(sample_items(SMALL)) == 300
    assert log.group_by("user_id").len()["len"].min() >= 5


def test_the_log_is_the_same_when_the_seed_is_the_same():
    assert log_of(SMALL).equals(log_of(SMALL))
    assert not log_of(SMALL).equals(log_of(Sample(400, 300, 12_000, seed=6)))


def test_users_are_whole_when_the_log_comes_in_chunks():
    chunks = list(sample_interactions(SMALL, chunk_rows=1_000))
    assert len(chunks) > 5
    assert sum(map(len, chunks)) == 12_000
    seen: set[str] = set()
    for chunk in chunks:
        users = set(chunk["user_id"])
        assert not users & seen
        seen |= users


def test_times_ascend_inside_a_user_when_generated():
    log = log_of(SMALL)
    gap = log.select(pl.col("timestamp").diff().over("user_id"))["timestamp"].drop_nulls()
    assert gap.min() >= 1
    assert log["timestamp"].min() >= END - YEAR
    assert log["timestamp"].max() < END
    # Sessions: most steps take minutes, many take days, little lies between.
    assert (gap < 3_600).mean() > 0.6
    assert (gap > 86_400).mean() > 0.1


def test_one_successor_dominates_when_an_item_is_inside_a_series():
    log = log_of(Sample(2_000, 300, 60_000, seed=5))
    pairs = log.with_columns(pl.col("item_id").shift(-1).over("user_id").alias("next")).drop_nulls()
    top = (
        pairs.group_by("item_id", "next")
        .len()
        .group_by("item_id")
        .agg(pl.col("len").max().alias("best"), pl.col("len").sum().alias("all"))
    )
    # By chance the best of 300 successors would hold a few per cent.
    assert (top["best"] / top["all"]).median() > 0.25


def test_a_user_stays_with_few_genres_when_tastes_are_planted():
    log = log_of(SMALL).join(sample_items(SMALL), on="item_id")
    shares = log.group_by("user_id", "category").len()
    favourite = shares.group_by("user_id").agg(pl.col("len").max() / pl.col("len").sum())["len"]
    whole = log["category"].value_counts()["count"].max() / len(log)
    assert favourite.mean() > 2 * whole


def test_one_genre_jumps_when_the_year_ends():
    log = log_of(SMALL).join(sample_items(SMALL), on="item_id")
    late = pl.col("timestamp") >= END - SHIFT_SHARE * YEAR
    share = pl.col("category") == GENRES[-1]
    before = log.filter(~late).select(share.mean()).item()
    after = log.filter(late).select(share.mean()).item()
    assert after > 3 * before


def test_some_items_appear_late_when_series_are_released_during_the_year():
    first = log_of(Sample()).group_by("item_id").agg(pl.col("timestamp").min())["timestamp"]
    assert 0.02 < np.mean(first.to_numpy() > END - YEAR / 4) < 0.4


def test_titles_hold_more_than_ascii_when_made():
    items = sample_items(SMALL)
    assert 0.3 < np.mean([not title.isascii() for title in items["title"]]) < 1
    assert set(items["category"]) == set(GENRES)
