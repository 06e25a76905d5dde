"""The k-core of a log: nobody, and nothing, with too little."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.data.ordering import chunks

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]


def k_core(
    users: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
    min_user_interactions: int,
    min_item_interactions: int,
    inside: Bool | None = None,
) -> Bool:
    """Tell which interactions are in the k-core: bool [interactions].

    Users and items with too few interactions are removed, and again, until none is left to remove;
    the result is the largest such set and does not depend on the order of removal. `users` and
    `items` are non-negative codes, one an interaction; `inside` (bool [interactions]) starts from a
    part of them, and is the array that is returned.
    """
    if inside is None:
        inside = np.ones(len(users), np.bool_)
    if not len(users):
        return inside
    of_user = _counts(users, inside)
    of_item = _counts(items, inside)
    while True:
        poor_user = of_user < min_user_interactions
        poor_item = of_item < min_item_interactions
        if not (poor_user & (of_user > 0)).any() and not (poor_item & (of_item > 0)).any():
            return inside
        for chunk in chunks(len(users)):
            gone = (poor_user[users[chunk]] | poor_item[items[chunk]]) & inside[chunk]
            places = np.flatnonzero(gone)
            if len(places):
                inside[chunk][places] = False
                of_user -= np.bincount(users[chunk][places], minlength=len(of_user))
                of_item -= np.bincount(items[chunk][places], minlength=len(of_item))


def _counts(codes: NDArray[np.integer[Any]], inside: Bool) -> Int64:
    counts = np.zeros(int(codes.max()) + 1, np.int64)
    for chunk in chunks(len(codes)):
        counts += np.bincount(codes[chunk][inside[chunk]], minlength=len(counts))
    return counts
