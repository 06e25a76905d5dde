"""Run in RecTools' environment: reads scores and interactions as JSON, answers metrics as JSON.

Knows nothing of slmrec: it sorts the scores itself, by score and then by item, and leaves the rest to
RecTools.
"""

import json
import sys

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.metrics import (
    MRR,
    NDCG,
    AvgRecPopularity,
    CatalogCoverage,
    HitRate,
    Intersection,
    IntraListDiversity,
    MeanInvUserFreq,
    PairwiseDistanceCalculator,
    Recall,
)

LISTED = 10


class Cosine(PairwiseDistanceCalculator):
    """One less the cosine of two items, each a row of `vectors`; 1 where a row is nothing."""

    def __init__(self, vectors: np.ndarray) -> None:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.units = vectors / np.where(lengths > 0, lengths, 1.0)

    def _get_distances_for_item_pairs(self, items_0, items_1):
        return 1.0 - (self.units[list(items_0)] * self.units[list(items_1)]).sum(axis=1)


def ranking(scores: np.ndarray, left_out: list[set[int]]) -> pd.DataFrame:
    """All items but those left out, best first, ties by item."""
    rows = []
    for user, (of_user, out) in enumerate(zip(scores, left_out, strict=True)):
        items = [item for item in range(1, len(of_user)) if item not in out]
        items.sort(key=lambda item: (-of_user[item], item))
        rows += [(user, item, rank) for rank, item in enumerate(items, start=1)]
    return pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Rank])


def doubled_ranks(train: pd.DataFrame) -> pd.DataFrame:
    """Each item as often as there are interactions with less touched items, twice, and as touched."""
    counts = train[Columns.Item].value_counts()
    times = {
        item: 2 * counts[counts < n].sum() + counts[counts == n].sum() for item, n in counts.items()
    }
    items = np.repeat(list(times), list(times.values()))
    return pd.DataFrame({Columns.User: 0, Columns.Item: items})


def main() -> None:
    """Answer one question."""
    asked = json.load(sys.stdin)
    scores, other = np.array(asked["scores"]), np.array(asked["other_scores"])
    users, columns = scores.shape
    train = pd.DataFrame(asked["train"], columns=[Columns.User, Columns.Item])
    targets = pd.DataFrame({Columns.User: range(users), Columns.Item: asked["targets"]})
    seen = [set(items) for items in asked["seen"]]
    # Where a target is asked for that was seen before, it is ranked among what was not seen.
    but_target = [out - {target} for out, target in zip(seen, asked["targets"], strict=True)]
    ranked = ranking(scores, but_target)
    lists, other_lists = (
        table[table[Columns.Rank] <= LISTED]
        for table in (ranking(scores, seen), ranking(other, seen))
    )
    per_user = {"mrr": MRR(k=columns).calc_per_user(ranked, targets)}
    for k in asked["cutoffs"]:
        per_user |= {
            f"hr@{k}": HitRate(k=k).calc_per_user(ranked, targets),
            f"recall@{k}": Recall(k=k).calc_per_user(ranked, targets),
            f"ndcg@{k}": NDCG(k=k, divide_by_achievable=True).calc_per_user(ranked, targets),
            f"mrr@{k}": MRR(k=k).calc_per_user(ranked, targets),
        }
    touched = np.zeros((columns, users))
    touched[train[Columns.Item], train[Columns.User]] = 1.0
    several = lists.groupby(Columns.User)[Columns.Item].transform("size") > 1
    diversity = IntraListDiversity(k=LISTED, distance_calculator=Cosine(touched))
    answer = {
        "per_user": {
            name: found.reindex(range(users)).tolist() for name, found in per_user.items()
        },
        "coverage": CatalogCoverage(k=LISTED, normalize=True).calc(lists, range(1, columns)),
        "novelty": MeanInvUserFreq(k=LISTED).calc(lists, train),
        "doubled_popularity_rank": AvgRecPopularity(k=LISTED).calc(lists, doubled_ranks(train)),
        "diversity_of_pairs": diversity.calc(lists[several]),
        "overlap_by_user": Intersection(k=LISTED).calc_per_user(other_lists, lists).tolist(),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
