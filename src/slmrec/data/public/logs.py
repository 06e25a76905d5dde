"""Public interaction logs that can be fetched: where they are, how large, and under which terms."""

from dataclasses import dataclass

_GROUPLENS = (
    "research use, no redistribution without GroupLens' permission; cite Harper and Konstan, The "
    "MovieLens Datasets, ACM TiiS 2015"
)
_AMAZON = (
    "research use; cite Ni, Li and McAuley, Justifying recommendations using distantly-labeled "
    "reviews and fined-grained aspects, EMNLP 2019; the reviews belong to their authors"
)
_AMAZON_ROOT = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a public log."""

    url: str
    md5: str = ""
    """As its publisher states it; empty where none is stated."""


@dataclass(frozen=True)
class PublicLog:
    """A public log of interactions."""

    name: str
    what: str
    size: str
    """Users, items and interactions, as published."""
    megabytes: int
    """Of the download, about; a guide for the reader and for the limit."""
    terms: str
    """Of use, as its publisher states them."""
    files: tuple[RemoteFile, ...]
    members: tuple[str, ...] = ()
    """What is taken out of a zip archive; empty where the files are used as they are."""
    interactions: str = ""
    """Name of the log among the files that are there afterwards."""
    items: str = ""
    """Name of the item file."""


def _amazon(name: str, category: str, what: str, size: str, megabytes: int) -> PublicLog:
    return PublicLog(
        name=name,
        what=f"Amazon 2018, {what}, 5-core",
        size=size,
        megabytes=megabytes,
        terms=_AMAZON,
        files=(
            RemoteFile(f"{_AMAZON_ROOT}/categoryFilesSmall/{category}_5.json.gz"),
            RemoteFile(f"{_AMAZON_ROOT}/metaFiles2/meta_{category}.json.gz"),
        ),
        interactions=f"{category}_5.json.gz",
        items=f"meta_{category}.json.gz",
    )


def _movielens(
    name: str,
    size: str,
    megabytes: int,
    md5: str,
    members: tuple[str, str],
) -> PublicLog:
    return PublicLog(
        name=name,
        what="MovieLens ratings and titles",
        size=size,
        megabytes=megabytes,
        terms=_GROUPLENS,
        files=(RemoteFile(f"https://files.grouplens.org/datasets/movielens/{name}.zip", md5),),
        members=tuple(f"{name}/{member}" for member in members),
        interactions=members[0],
        items=members[1],
    )


LOGS = {
    log.name: log
    for log in (
        _movielens(
            "ml-100k",
            "943 / 1,682 / 100,000",
            5,
            "0e33842e24a9c977be4e0107933c0723",
            ("u.data", "u.item"),
        ),
        _movielens(
            "ml-1m",
            "6,040 / 3,706 / 1,000,209",
            6,
            "c4d9eecfca2ab87c1945afe126590906",
            ("ratings.dat", "movies.dat"),
        ),
        # Its publisher rebuilds this file now and then, so no checksum is written down for it.
        _movielens(
            "ml-latest-small", "610 / 9,724 / 100,836", 1, "", ("ratings.csv", "movies.csv")
        ),
        PublicLog(
            name="movietweetings",
            what="ratings that people tweeted from IMDb, newest state",
            size="71,707 / 38,018 / 921,398",
            megabytes=35,
            terms="MIT licence; cite Dooms, De Pessemier and Martens, MovieTweetings, 2013",
            files=tuple(
                RemoteFile(
                    "https://raw.githubusercontent.com/sidooms/MovieTweetings/master/latest/" + name
                )
                for name in ("ratings.dat", "movies.dat")
            ),
            interactions="ratings.dat",
            items="movies.dat",
        ),
        _amazon(
            "amazon-2018-cloth",
            "Clothing_Shoes_and_Jewelry",
            "Clothing, Shoes and Jewelry",
            "1,219,678 / 376,858 / 11,285,464",
            2_900,
        ),
        _amazon(
            "amazon-2018-movie",
            "Movies_and_TV",
            "Movies and TV",
            "297,529 / 60,175 / 3,410,019",
            900,
        ),
        _amazon(
            "amazon-2018-music",
            "Digital_Music",
            "Digital Music",
            "16,566 / 11,797 / 169,781",
            90,
        ),
        _amazon(
            "amazon-2018-sport",
            "Sports_and_Outdoors",
            "Sports and Outdoors",
            "332,447 / 104,687 / 2,839,940",
            1_900,
        ),
    )
}
