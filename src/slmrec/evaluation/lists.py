"""What people would be shown, beside whether it hits: a whole set of top lists, in a few numbers."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from slmrec.data.sequences import PADDING, Sequences

Int32 = NDArray[np.int32]
DIVERSITY_LISTS, _ROWS = 2000, 32
"""Lists, evenly spread, whose diversity is measured, and how many together; one may touch all users."""


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
        "novelty": _mean_over_lists(catalogue.surprise()[lists], listed),
        "diversity": _diversity(_spread(lists[sizes > 1]), catalogue),
        "exposure_gini": gini(exposure),
        "exposure_popularity": _mean_over_lists(catalogue.popularity_rank()[lists], listed),
        "personalization": _personalization(exposure, sizes, lists.shape[1]),
    }


class Touched:
    """Who touched what in training.

    - `matrix` sparse float64 [training users, items + 1]: 1 where a user touched an item
    - `users`, `interactions` int64 [items + 1]: how many people, how often
    """

    def __init__(self, sequences: Sequences) -> None:
        mask = sequences.split_mask("train")
        items = np.asarray(sequences.items)[mask]
        offsets = np.asarray(sequences.offsets)
        lengths = offsets[1:] - offsets[:-1]
        users = np.repeat(np.arange(sequences.users), lengths)[mask]
        shape = (sequences.users, sequences.item_count + 1)
        ones = np.ones(len(items))
        self.matrix = sparse.csr_matrix((ones, (users, items)), shape=shape)
        self.matrix.data[:] = 1.0  # once is as good as twice
        self.users = np.bincount(self.matrix.indices, minlength=shape[1])
        self.interactions = np.bincount(items, minlength=shape[1])
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


def _mean_over_lists(values: NDArray[np.float64], listed: NDArray[np.bool_]) -> float:
    sizes = listed.sum(axis=1)
    sums = np.where(listed, values, 0.0).sum(axis=1)
    filled = sizes > 0
    return float((sums[filled] / sizes[filled]).mean()) if filled.any() else 0.0


def _spread(lists: Int32) -> Int32:
    count = min(len(lists), DIVERSITY_LISTS)
    return lists[np.linspace(0, len(lists) - 1, count).astype(np.int64)] if count else lists


def _diversity(lists: Int32, catalogue: Touched) -> float:
    """For unit vectors x, Σ over ordered pairs of x · y = ‖Σ x‖² − Σ ‖x‖²: no pair is looked at."""
    if not len(lists):
        return 0.0
    lengths = np.sqrt(np.maximum(catalogue.users, 1))
    units = (catalogue.matrix @ sparse.diags(1 / lengths)).T.tocsr()  # [items + 1, users]
    known = catalogue.users > 0
    total = 0.0
    for start in range(0, len(lists), _ROWS):
        part = lists[start : start + _ROWS]
        rows, columns = np.nonzero(part != PADDING)
        ones = np.ones(len(rows))
        chosen = sparse.csr_matrix(
            (ones, (rows, part[rows, columns])), shape=(len(part), units.shape[0])
        )
        sums = chosen @ units
        sums.data **= 2
        squares = np.asarray(sums.sum(axis=1)).ravel()
        own = np.where(part != PADDING, known[part], False).sum(axis=1)
        sizes = (part != PADDING).sum(axis=1)
        total += float((1 - (squares - own) / (sizes * (sizes - 1))).sum())
    return total / len(lists)


def _personalization(exposure: NDArray[np.int64], sizes: NDArray[np.int64], k: int) -> float:
    """Every two people share an item as often as the item's exposure has pairs."""
    users = int(np.count_nonzero(sizes))
    if users < 2:
        return 0.0
    shared = float((exposure * (exposure - 1)).sum()) / (users * (users - 1))
    return 1.0 - shared / k
