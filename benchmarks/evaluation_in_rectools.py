"""The peer's side of `benchmarks/evaluation.py peer`: run in RecTools' environment, not in ours.

Ranks with `ImplicitRanker`, several times as fast here as `TorchRanker`, makes the table of
recommendations as RecTools' models do, and calculates metrics with `calc_metrics`. MRR over the whole
catalogue takes lists of the whole catalogue, which only some users get. Reading the inputs and turning
them into the tables that RecTools starts from is not timed.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.metrics import (
    MRR,
    NDCG,
    AvgRecPopularity,
    CatalogCoverage,
    HitRate,
    IntraListDiversity,
    MeanInvUserFreq,
    PairwiseDistanceCalculator,
    Recall,
    calc_metrics,
)
from rectools.models.rank import Distance, ImplicitRanker
from scipy import sparse

CUTOFFS, LISTED, DESCRIBED, DIVERSE_LISTS = (1, 5, 10, 20), 20, 10, 2000
UNCUT_USERS = 200


class Cosine(PairwiseDistanceCalculator):
    """One less the cosine of two items, each a vector of the users who touched it."""

    def __init__(self, touched: sparse.csr_matrix) -> None:
        lengths = np.sqrt(np.maximum(np.asarray(touched.sum(axis=1)).ravel(), 1.0))
        self.units = (sparse.diags(1 / lengths) @ touched).tocsr()

    def _get_distances_for_item_pairs(self, items_0, items_1):
        both = self.units[np.asarray(items_0, int)].multiply(self.units[np.asarray(items_1, int)])
        return 1.0 - np.asarray(both.sum(axis=1)).ravel()


def ranked(users: np.ndarray, items: np.ndarray, seen: sparse.csr_matrix, threads: int, k: int):
    """The table of recommendations: items 1 … N."""
    ranker = ImplicitRanker(Distance.DOT, users, items, num_threads=threads)
    user, item, score = ranker.rank(np.arange(len(users)), k=k, filter_pairs_csr=seen)
    reco = pd.DataFrame({Columns.User: user, Columns.Item: item + 1, Columns.Score: score})
    reco[Columns.Rank] = reco.groupby(Columns.User, sort=False).cumcount() + 1
    return reco


def judged(reco, wanted, known, count: int, touched: sparse.csr_matrix) -> dict[str, float]:
    """Every metric that slmrec has, too."""
    metrics = {}
    for k in CUTOFFS:
        metrics |= {
            f"hr@{k}": HitRate(k=k),
            f"recall@{k}": Recall(k=k),
            f"ndcg@{k}": NDCG(k=k, divide_by_achievable=True),
            f"mrr@{k}": MRR(k=k),
        }
    metrics |= {
        "coverage": CatalogCoverage(k=DESCRIBED, normalize=True),
        "novelty": MeanInvUserFreq(k=DESCRIBED),
        "mean_popularity": AvgRecPopularity(k=DESCRIBED, normalize=True),
    }
    found = calc_metrics(metrics, reco, wanted, known, np.arange(1, count + 1))
    users = len(wanted)
    spread = np.linspace(0, users - 1, min(users, DIVERSE_LISTS)).astype(np.int64)
    some = reco[reco[Columns.User].isin(spread)]
    diversity = IntraListDiversity(k=DESCRIBED, distance_calculator=Cosine(touched))
    return found | calc_metrics({"diversity": diversity}, some)


def main(place: str, threads: str) -> None:
    """Rank and judge once; print seconds and figures."""
    folder = Path(place)
    offsets, items = np.load(folder / "offsets.npy"), np.load(folder / "items.npy")
    user_vectors = np.load(folder / "user_vectors.npy")
    item_vectors = np.load(folder / "item_vectors.npy")[1:]
    users, count = len(offsets) - 1, len(item_vectors)
    last = np.zeros(len(items), dtype=bool)
    last[offsets[1:] - 1] = True
    user = np.repeat(np.arange(users), np.diff(offsets))[~last]
    known = pd.DataFrame({Columns.User: user, Columns.Item: items[~last]})
    wanted = pd.DataFrame({Columns.User: np.arange(users), Columns.Item: items[last]})
    ones = np.ones(len(known), dtype=np.float32)
    seen = sparse.csr_matrix((ones, (user, items[~last] - 1)), shape=(users, count))
    seen.data[:] = 1.0
    touched = sparse.vstack([sparse.csr_matrix((1, users)), seen.T.astype(np.float64)]).tocsr()

    started = time.perf_counter()
    reco = ranked(user_vectors, item_vectors, seen, int(threads), LISTED)
    listed = time.perf_counter()
    figures = judged(reco, wanted, known, count, touched)
    ended = time.perf_counter()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reco = ranked(user_vectors[:UNCUT_USERS], item_vectors, seen[:UNCUT_USERS], int(threads), count)
    figures |= calc_metrics({"mrr_of_some": MRR(k=count)}, reco, wanted[:UNCUT_USERS])
    uncut = (time.perf_counter() - ended) / min(users, UNCUT_USERS)
    seconds = {"whole": ended - started, "metrics": ended - listed, "uncut_a_user": uncut}
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "figures": figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
