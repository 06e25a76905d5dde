"""The built-in sample: a seeded interaction log with structure that is worth learning.

What is planted, each ingredient for a reason:

- **tastes**: a user mixes three genres; knowing the whole history tells which (beats popularity)
- **series**: items come in series, and a part suggests the next one; other items may come in
  between, so the last item alone does not tell everything (beats plain item transitions)
- **popularity**: Zipf over the series of a genre, and over genres
- **sessions**: events minutes apart inside a session, sessions days apart; users join all year
- **cold items**: a quarter of the series is released during the year, mostly late, so some items
  first appear in the test
- **a shift**: in the last 8 % of the year one genre suddenly takes a third of all new starts
- **repeats**: people return to what they know, so deduplication has work to do

The end of the year is a constant; the same parameters give the same log on every machine.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import Interactions, Items
from slmrec.data.sample_titles import GENRES, series_titles
from slmrec.errors import ConfigError

SCHEME = "sample:"
END = 1_735_603_200  # 2024-12-31 00:00 UTC
YEAR = 365 * 86_400
SHIFT_SHARE = 0.08
SHIFT_GENRE = len(GENRES) - 1
SHIFT_STRENGTH = 0.35

TASTE = np.array(
    [0.55, 0.82, 0.94]
)  # cumulative shares of a user's three genres; the rest is chance
NEW_START = 0.28  # an event that begins another series
DETOUR = 0.17  # an event that interrupts a series, which then goes on
FROM_FIRST_PART = 0.6
LATE_SERIES = 0.25  # share of series that are released during the year
POPULARITY_EXPONENT = 0.7
FEWEST_EVENTS = 5
CHUNK_ROWS = 2_000_000

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Size and seed of a sample; its URI is `sample:` or `sample:users=300,seed=3`."""

    users: int = 3_000
    items: int = 1_500
    interactions: int = 100_000
    seed: int = 17

    def uri(self) -> str:
        """Give the canonical URI, with every parameter."""
        values = ",".join(f"{name}={getattr(self, name)}" for name in _parameters())
        return SCHEME + values


def is_sample(uri: str) -> bool:
    """Whether a source names the built-in sample rather than a file."""
    return uri.startswith(SCHEME)


def parse_sample(uri: str) -> Sample:
    """Parse a `sample:` URI. Raises `ConfigError` naming the parameter and what is allowed."""
    allowed = ", ".join(_parameters())
    values: dict[str, int] = {}
    for part in filter(None, uri.removeprefix(SCHEME).split(",")):
        name, separator, text = part.partition("=")
        if not separator or name not in _parameters():
            raise ConfigError(f"{uri}: found '{part}', expected NAME=NUMBER with one of: {allowed}")
        if name in values:
            raise ConfigError(f"{uri}: '{name}' is given twice, expected once")
        if not (text.isascii() and text.isdigit()):
            raise ConfigError(f"{uri}: {name} is '{text}', expected a whole number")
        values[name] = int(text)
    sample = Sample(**values)
    smallest = 4 * len(GENRES)
    if sample.items < smallest:
        raise ConfigError(f"{uri}: items is {sample.items}, expected at least {smallest}")
    if sample.users < 1:
        raise ConfigError(f"{uri}: users is {sample.users}, expected at least 1")
    if sample.interactions < sample.users:
        raise ConfigError(
            f"{uri}: interactions is {sample.interactions}, expected at least one for each of "
            f"{sample.users} users"
        )
    return sample


def sample_items(sample: Sample) -> pl.DataFrame:
    """Make the catalogue, columns `Items`, in order of item id."""
    catalogue = _catalogue(sample)
    titles = series_titles(len(catalogue.series_start), sample.seed)
    series = catalogue.item_series
    part = np.arange(sample.items) - catalogue.series_start[series]
    return pl.DataFrame(
        {
            Items.ITEM: catalogue.item_ids,
            Items.TITLE: [f"{titles[s]} {p + 1}" for s, p in zip(series, part, strict=True)],
            Items.CATEGORY: np.array(GENRES)[catalogue.series_genre[series]].tolist(),
        }
    ).sort(Items.ITEM)


def sample_interactions(sample: Sample, chunk_rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Make the log in chunks of whole users, so that memory stays bounded.

    Columns: user_id and item_id text, timestamp int64 seconds, rating float32 1 … 5. Users one
    after another, each in time order. Another `chunk_rows` gives another
    log: it decides which random stream a user is drawn from.
    """
    catalogue = _catalogue(sample)
    rng = np.random.default_rng([sample.seed, 1])
    counts = _events_per_user(rng, sample)
    chunk_of_user = (np.cumsum(counts) - counts) // chunk_rows
    starts = np.flatnonzero(np.diff(chunk_of_user, prepend=-1))
    width = max(7, len(str(sample.users)))
    for number, (first, last) in enumerate(zip(starts, [*starts[1:], sample.users], strict=True)):
        chunk_rng = np.random.default_rng([sample.seed, 2, number])
        user, item, time, rating = _chunk(chunk_rng, catalogue, counts[first:last])
        ids = pl.Series(np.arange(first, last)).cast(pl.String).str.zfill(width)
        yield pl.DataFrame(
            {
                Interactions.USER: ("u" + ids).gather(user),
                Interactions.ITEM: catalogue.item_ids.gather(item),
                Interactions.TIME: time,
                Interactions.RATING: rating,
            }
        )


@dataclass(frozen=True)
class _Catalogue:
    # Items of a series are consecutive numbers, series of a genre are consecutive too; the public
    # ids are shuffled so that they do not tell.
    item_ids: pl.Series  # [items]
    item_series: Int64  # [items]
    series_start: Int64  # [series], number of the first part
    series_length: Int64  # [series]
    series_genre: Int64  # [series]
    release: Int64  # [series], seconds
    cumulative: Float64  # [series], genre + share of that genre's popularity up to the series
    opening: Int64  # [genres], a popular series that is there from the start
    genre_cumulative: Float64  # [genres]


def _catalogue(sample: Sample) -> _Catalogue:
    rng = np.random.default_rng([sample.seed, 0])
    genres = len(GENRES)
    lengths: list[Int64] = []
    series_genre: list[Int64] = []
    for genre, share in enumerate(np.array_split(np.arange(sample.items), genres)):
        drawn = rng.integers(3, 9, size=len(share) // 3 + 1)
        ends = np.minimum(np.cumsum(drawn), len(share))
        length = np.diff(ends, prepend=0)
        length = length[length > 0]
        lengths.append(length)
        series_genre.append(np.full(len(length), genre))
    length = np.concatenate(lengths)
    of_genre = np.concatenate(series_genre)
    first_series = np.searchsorted(of_genre, np.arange(genres))
    rank = np.arange(len(length)) - first_series[of_genre]
    popularity = (rank + 1.0) ** -POPULARITY_EXPONENT
    total = np.bincount(of_genre, popularity, genres)
    running = np.cumsum(popularity)
    before = running[first_series] - popularity[first_series]
    late = (rng.random(len(length)) < LATE_SERIES) & (rank > 0)
    genre_popularity = 1.0 / np.arange(1, genres + 1) ** 0.5
    shuffled = rng.permutation(sample.items)
    width = max(5, len(str(sample.items)))
    return _Catalogue(
        item_ids="i" + pl.Series(shuffled).cast(pl.String).str.zfill(width),
        item_series=np.repeat(np.arange(len(length)), length),
        series_start=np.cumsum(length) - length,
        series_length=length,
        series_genre=of_genre,
        release=np.where(late, END - (rng.random(len(length)) ** 2 * YEAR).astype(np.int64), 0),
        cumulative=of_genre + (running - before[of_genre]) / total[of_genre],
        opening=first_series,
        genre_cumulative=np.cumsum(genre_popularity / genre_popularity.sum()),
    )


def _events_per_user(rng: np.random.Generator, sample: Sample) -> Int64:
    fewest = min(FEWEST_EVENTS, sample.interactions // sample.users)
    weight = rng.lognormal(0.0, 0.8, sample.users)
    rest = sample.interactions - fewest * sample.users
    share = np.floor(np.cumsum(weight) / weight.sum() * rest)
    share[-1] = rest
    events: Int64 = fewest + np.diff(share, prepend=0).astype(np.int64)
    return events


def _chunk(
    rng: np.random.Generator, catalogue: _Catalogue, counts: Int64
) -> tuple[Int64, Int64, Int64, NDArray[np.float32]]:
    rows = int(counts.sum())
    first = np.cumsum(counts) - counts  # [users], the row of a user's first event
    user = np.repeat(np.arange(len(counts)), counts)
    time = _times(rng, first, user, counts)
    tastes = np.searchsorted(catalogue.genre_cumulative, rng.random((len(counts), 3)))
    tastes = np.minimum(tastes, len(GENRES) - 1)

    draw = rng.random(rows, dtype=np.float32)
    begins = draw < NEW_START
    begins[first] = True
    detour = (draw > 1 - DETOUR) & ~begins
    # A run starts at `origin` and goes on by one part an event, detours not counted.
    origin = np.maximum.accumulate(np.where(begins, np.arange(rows), 0))
    steps = np.cumsum(~detour)
    item = np.zeros(rows, np.int64)
    fresh = np.flatnonzero(begins | detour)
    item[fresh] = _fresh_items(rng, catalogue, tastes, user[fresh], time[fresh])
    continued = np.flatnonzero(~(begins | detour))
    source = item[origin[continued]]
    following = source + steps[continued] - steps[origin[continued]]
    series = catalogue.item_series[source]
    inside = following < catalogue.series_start[series] + catalogue.series_length[series]
    item[continued[inside]] = following[inside]
    ended = continued[~inside]
    item[ended] = _fresh_items(rng, catalogue, tastes, user[ended], time[ended])

    liked = catalogue.series_genre[catalogue.item_series[item]] == tastes[user, 0]
    rating = np.clip(np.rint(3.2 + 0.8 * liked + rng.standard_normal(rows, np.float32)), 1, 5)
    return user, item, time, rating.astype(np.float32)


def _times(rng: np.random.Generator, first: Int64, user: Int64, counts: Int64) -> Int64:
    rows, users = len(user), len(counts)
    joined = END - YEAR + rng.random(users) * 0.92 * YEAR
    active = (END - joined) * np.minimum(rng.uniform(0.3, 1.7, users), 1.0)
    new_session = rng.random(rows, dtype=np.float32) < 0.25
    new_session[first] = True
    waits = rng.standard_exponential(rows, dtype=np.float32).astype(np.float64)
    pause = np.cumsum(np.where(new_session, waits, 0.0))
    minutes = np.cumsum(np.where(new_session, 1.0, 30.0 + 300.0 * waits))
    last = first + counts - 1
    pause_before = np.where(first > 0, pause[first - 1], 0.0)
    minutes_before = np.where(first > 0, minutes[first - 1], 0.0)
    whole_pause = pause[last] - pause_before + rng.standard_exponential(users)
    left = np.maximum(active - (minutes[last] - minutes_before), 60.0)
    scale = left / whole_pause
    seconds = (
        joined[user] + (pause - pause_before[user]) * scale[user] + (minutes - minutes_before[user])
    )
    whole: Int64 = np.minimum(seconds.astype(np.int64), END - 1)
    return whole


def _fresh_items(
    rng: np.random.Generator, catalogue: _Catalogue, tastes: Int64, user: Int64, time: Int64
) -> Int64:
    rows = len(user)
    choice = np.searchsorted(TASTE, rng.random(rows))
    genre = tastes[user, np.minimum(choice, 2)]
    chance = np.flatnonzero(choice == 3)
    genre[chance] = rng.integers(0, len(GENRES), len(chance))
    shifted = (time >= END - SHIFT_SHARE * YEAR) & (rng.random(rows) < SHIFT_STRENGTH)
    genre[shifted] = SHIFT_GENRE
    series = _draw_series(rng, catalogue, genre)
    for _ in range(3):
        unreleased = np.flatnonzero(catalogue.release[series] > time)
        series[unreleased] = _draw_series(rng, catalogue, genre[unreleased])
    unreleased = np.flatnonzero(catalogue.release[series] > time)
    series[unreleased] = catalogue.opening[genre[unreleased]]
    where = rng.random(rows)
    inner = np.maximum(where - FROM_FIRST_PART, 0.0) / (1 - FROM_FIRST_PART)
    part = (inner * catalogue.series_length[series]).astype(np.int64)
    items: Int64 = catalogue.series_start[series] + part
    return items


def _draw_series(rng: np.random.Generator, catalogue: _Catalogue, genre: Int64) -> Int64:
    series = np.searchsorted(catalogue.cumulative, genre + rng.random(len(genre)), side="right")
    return np.minimum(series, len(catalogue.cumulative) - 1)


def _parameters() -> list[str]:
    return sorted(field.name for field in fields(Sample))
