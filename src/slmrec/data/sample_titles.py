"""Titles of the built-in sample: made-up series names, many of them outside ASCII on purpose."""

import numpy as np

GENRES = (
    "Crime",
    "Comedy",
    "Drama",
    "Adventure",
    "Science fiction",
    "Fantasy",
    "Documentary",
    "Romance",
    "Music & dance",
    "Children's",
    "Horror",
    "Sport",
)

_FIRST = (
    "Quiet", "Été à", "Grüne", "Last", "深夜の", "Тихий", "São", "Midnight", "Łagodny", "Ancient",
    "Crème de", "Señor", "Paper", "Άγριο", "한여름", "Wandering", "Ωmega", "Nordic", "Ópera",
    "Iron",
)  # fmt: skip
_SECOND = (
    "Harbour", "Łódź", "Bücher", "Frontier", "図書館", "вечер", "Miguel", "Orchard", "Ogród",
    "Lantern", "Montréal", "Muñoz", "Kites", "Κύμα", "소나기", "Rivers", "Circuit", "Fjørd",
    "Pública", "Garden", "Æther", "Compass", "Žofie", "Tide", "Ça & Là",
)  # fmt: skip


def series_titles(count: int, seed: int) -> list[str]:
    """Titles of `count` series.

    Titles repeat in large catalogues, as they do in life; ids are what tells items apart.
    """
    rng = np.random.default_rng([seed, 3])
    first = rng.integers(0, len(_FIRST), count)
    second = rng.integers(0, len(_SECOND), count)
    return [f"{_FIRST[a]} {_SECOND[b]}" for a, b in zip(first, second, strict=True)]
