"""What people would be shown, beside whether it hits: a whole set of top lists, in a few numbers."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from slmrec.data.sequences import PADDING, Sequences

Int32 = NDArray[np.int32]
DIVERSITY_LISTS = 2000
"""Lists, evenly spread, whose diversity is measured."""
_TOUCHES = 2**22
"""Lists are summed up together until so many users have touched their items."""
_ROWS = 2**16


class ListFigures(TypedDict):
    """Each a mean over lists that hold something, or a figure of all of them."""

    coverage: float
    """Share of the catalogue that stands in at least one list."""
    novelty: float
    """Mean over listed items of −log2 of the share of training users who touched the item; an item that
    nobody touched counts as touched by one. In bits; 0 where everybody knows everything listed (Zhou et
    al., PNAS 2010)."""
    diversity: float
    """One less the mean cosine between any two items of a list, each a vector of the training users who
    touched it: 1 where nobody touched two items of one list. Of `DIVERSITY_LISTS` lists at most."""
    exposure_gini: float
    """Gini coefficient of how often catalogue items are listed: 0 all alike, towards 1 all one item."""
    exposure_popularity: float
    """Mean over listed items of the share of training interactions that are with less touched items,
    half of those that are as touched counted: 0.5 would be drawing interactions at random."""
    personalization: float
    """One less the mean overlap of two different people's lists, as a share of a full list."""


def list_figures(lists: Int32, catalogue: "Touched") -> ListFigures:
    """Describe lists int32 [users, k] of item indices, best first, 0 where nothing was left."""
    listed = lists != PADDING
    shown = lists[listed]
    exposure = np.bincount(shown, minlength=len(catalogue.users))[1:]
    sizes = listed.sum(axis=1)
    return {
        "coverage": float(np.count_nonzero(exposure) / max(len(exposure), 1)),
        "novelty": _mean_over_lists(catalogue.surprise(), lists),
        "diversity": _diversity(_spread(lists[sizes > 1]), catalogue),
        "exposure_gini": gini(exposure),
        "exposure_popularity": _mean_over_lists(catalogue.popularity_rank(), lists),
        "personalization": _personalization(exposure, sizes, lists.shape[1]),
    }


class Touched:
    """Who touched what in training.

    - `matrix` sparse int8 [users, items + 1]: 1 where a user touched an item
    - `users`, `interactions` int64 [items + 1]: how many people, how often
    """

    def __init__(self, sequences: Sequences) -> None:
        items = sequences.train_items()
        lengths = np.asarray(sequences.train_end) - np.asarray(sequences.offsets)[:-1]
        shape = (sequences.users, sequences.item_count + 1)
        self.interactions = np.bincount(items, minlength=shape[1])
        starts = np.concatenate([[0], np.cumsum(lengths)])
        ones = np.ones(len(items), dtype=np.int8)
        self.matrix = sparse.csr_matrix((ones, items, starts), shape=shape)
        self.matrix.sum_duplicates()
        self.matrix.data[:] = 1  # once is as good as twice
        self.users = np.bincount(self.matrix.indices, minlength=shape[1])
        self.active = int(np.count_nonzero(np.diff(self.matrix.indptr)))

    def surprise(self) -> NDArray[np.float64]:
        """−log2 of the share of active users who touched an item: float64 [items + 1]."""
        return -np.log2(np.maximum(self.users, 1) / max(self.active, 1))

    def popularity_rank(self) -> NDArray[np.float64]:
        """Share of interactions with less touched items, ties half: float64 [items + 1]."""
        _, place = np.unique(self.interactions, return_inverse=True)
        mass = np.bincount(place, weights=self.interactions) / max(self.interactions.sum(), 1)
        below = np.cumsum(mass) - mass
        ranks: NDArray[np.float64] = (below + mass / 2)[place]
        return ranks


def gini(exposure: NDArray[np.int64]) -> float:
    """Gini coefficient of non-negative numbers; 0 where all are 0."""
    total = exposure.sum()
    if not total:
        return 0.0
    count = len(exposure)
    order = np.sort(exposure)
    return float((2 * np.arange(1, count + 1) - count - 1) @ order / (count * total))


def _mean_over_lists(values: NDArray[np.float64], lists: Int32) -> float:
    """Mean over lists that hold something of the mean of their items' `values` [items + 1]."""
    means = []
    for start in range(0, len(lists), _ROWS):
        part = lists[start : start + _ROWS]
        listed = part != PADDING
        sizes = listed.sum(axis=1)
        sums = np.where(listed, values[part], 0.0).sum(axis=1)
        means.append(sums[sizes > 0] / sizes[sizes > 0])
    found = np.concatenate(means) if means else np.empty(0)
    return float(found.mean()) if len(found) else 0.0


def _spread(lists: Int32) -> Int32:
    count = min(len(lists), DIVERSITY_LISTS)
    return lists[np.linspace(0, len(lists) - 1, count).astype(np.int64)] if count else lists


def _diversity(lists: Int32, catalogue: Touched) -> float:
    """For unit vectors x, Σ over ordered pairs of x · y = ‖Σ x‖² − Σ ‖x‖²: no pair is looked at."""
    if not len(lists):
        return 0.0
    lists, times = np.unique(np.sort(lists, axis=1), axis=0, return_counts=True)
    items, place = np.unique(lists, return_inverse=True)
    units = catalogue.matrix[:, items].T.tocsr().astype(np.float64)  # [listed items, users]
    units = sparse.diags(1 / np.sqrt(np.maximum(catalogue.users[items], 1))) @ units
    touches = np.cumsum(catalogue.users[lists].sum(axis=1))
    ends = [*np.flatnonzero(np.diff(touches // _TOUCHES)) + 1, len(lists)]
    total, start = 0.0, 0
    for end in ends:
        part, columns = lists[start:end], place.reshape(lists.shape)[start:end]
        listed = part != PADDING
        rows, _ = np.nonzero(listed)
        shape = (len(part), len(items))
        sums = sparse.csr_matrix((np.ones(len(rows)), (rows, columns[listed])), shape=shape) @ units
        sums.data **= 2
        squares = np.asarray(sums.sum(axis=1)).ravel()
        own = (catalogue.users[part] > 0).sum(axis=1)  # nobody touched padding
        sizes = listed.sum(axis=1)
        total += float((times[start:end] * (1 - (squares - own) / (sizes * (sizes - 1)))).sum())
        start = end
    return total / float(times.sum())


def _personalization(exposure: NDArray[np.int64], sizes: NDArray[np.int64], k: int) -> float:
    """Every two people share an item as often as the item's exposure has pairs."""
    users = int(np.count_nonzero(sizes))
    if users < 2:
        return 0.0
    shared = float((exposure * (exposure - 1)).sum()) / (users * (users - 1))
    return 1.0 - shared / k
