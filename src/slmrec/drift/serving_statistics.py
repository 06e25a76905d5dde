"""How what production makes of two windows differs: states, lists, and how well it guesses."""

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import PADDING, Int64
from slmrec.drift.difference import (
    Difference,
    Float,
    Lot,
    Ratio,
    difference,
    largest_gap,
    lost_share,
    not_comparable,
    p_value,
)
from slmrec.drift.serving import MIN_GUESSED, People
from slmrec.drift.states import compare_states
from slmrec.drift.thresholds import StatisticName
from slmrec.evaluation.ranking import LIST_LENGTH

PERSISTENCE = 0.9
"""Of rank-biased overlap: how likely a reader goes on to the next item (Webber et al., 2010)."""


def compare_people(
    old: People,
    new: People,
    *,
    novelty: Float,
    permutations: int,
    rng: np.random.Generator,
) -> list[Difference]:
    """States, lists and quality of the people of two windows.

    `novelty` float64 [items + 1] is −log2 of the share of production's training interactions that each
    item had.
    """
    most = min(len(old.users), len(new.users))  # lists of more people hold more different items
    old, new = (people.by_lot(most, rng) for people in (old, new))
    lot = Lot(most, most, permutations, rng)
    return [
        *compare_states(old.states, new.states, lot, rng),
        *_exposures(old, new, lot),
        *_lists(old, new, lot, novelty),
        _quality(old, new, lot),
    ]


def _exposures(old: People, new: People, lot: Lot) -> list[Difference]:
    """Which items are shown, and how many different ones."""
    listed = np.concatenate((old.listed, new.listed))
    rows, places = np.nonzero(listed)
    items = np.concatenate((old.lists, new.lists))[rows, places]
    found = lot.counted(rows, items)
    p = p_value(found.divergences, found.divergence)
    shown = difference("exposure", found.by_chance, found.divergence, found.excess, p, found.moved)
    before, after = (count / max(lot.new, 1) for count in found.distinct)
    p = p_value(np.abs(found.distincts), float(abs(found.distinct[1] - found.distinct[0])))
    lost = lost_share(before, after)
    return [shown, difference("list_coverage", before, after, lost, p, found.moved)]


def _lists(old: People, new: People, lot: Lot, novelty: Float) -> list[Difference]:
    sides = [_of_lists(people, novelty) for people in (old, new)]
    shared = [name for name in sides[0] if name in sides[1]]
    parts = {
        name: (
            np.concatenate([side[name][0] for side in sides]),
            np.concatenate([side[name][1] for side in sides]),
        )
        for name in shared
    }
    found = []
    for name, ratio in lot.ratios(parts).items():
        if ratio is None:
            found.append(not_comparable(name))
            continue
        tops, bases = parts[name]
        values = tops / np.maximum(bases, 1)
        found.append(_measured(name, ratio, values[: lot.old], values[lot.old :]))
    return found


def _measured(name: StatisticName, ratio: Ratio, old: Float, new: Float) -> Difference:
    effect, touched = ratio.change, ratio.change
    if name in ("score_margin", "score_entropy", "list_novelty"):
        touched = largest_gap(old, new)
    if name == "score_margin":  # scores have a scale of the model's own
        spread = float(np.concatenate((old, new)).std())
        effect = ratio.change / spread if spread > 0 else 0.0
    return difference(name, ratio.before, ratio.after, effect, ratio.p, touched)


def _of_lists(people: People, novelty: Float) -> dict[StatisticName, tuple[Float, Float]]:
    """Numerator and denominator of each figure of a user's list: float64 [users] each."""
    listed = people.listed
    sizes = listed.sum(axis=1).astype(np.float64)
    alive = np.zeros(len(novelty), dtype=bool)
    alive[people.window.items] = True
    ones = np.ones(len(sizes))
    scores = np.where(listed, people.scores, -np.inf).astype(np.float64)
    full = (sizes >= 2).astype(np.float64)
    figures: dict[StatisticName, tuple[Float, Float]] = {
        "dead_items": ((listed & ~alive[people.lists]).sum(axis=1).astype(np.float64), sizes),
        "list_novelty": (np.where(listed, novelty[people.lists], 0.0).sum(axis=1), sizes),
        "score_margin": (
            np.subtract(scores[:, 0], scores[:, 1], out=np.zeros(len(scores)), where=full > 0),
            full,
        ),
        "score_entropy": (_entropy(scores) * full, full),
    }
    if people.before is not None:
        figures["previous_overlap"] = (_overlaps(people.lists, people.before)[:, -1], ones)
        figures["previous_rank_overlap"] = (rank_biased_overlap(people.lists, people.before), ones)
    return figures


def _entropy(scores: Float) -> Float:
    """Entropy in bits of the softmax over a list: float64 [users]; 0 for an empty list."""
    best = scores.max(axis=1, initial=-np.inf)
    shifted = scores - np.where(np.isfinite(best), best, 0.0)[:, None]
    weights = np.exp(shifted)
    shares = weights / np.maximum(weights.sum(axis=1), 1e-300)[:, None]
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Float = -(shares * logs).sum(axis=1)
    return entropy


def _overlaps(one: Int64, other: Int64) -> Float:
    """Share of the first d items that both lists hold, for every depth d: float64 [users, 10].

    Below a list's end nothing can be shared, so there the longer list's length counts for d.
    """
    same = (one[:, :, None] == other[:, None, :]) & (one != PADDING)[:, :, None]
    depth = np.arange(1, LIST_LENGTH + 1)
    both: NDArray[np.int64] = np.stack([same[:, :d, :d].sum(axis=(1, 2)) for d in depth], axis=1)
    longest = np.maximum((one != PADDING).sum(axis=1), (other != PADDING).sum(axis=1))
    return both / np.minimum(depth, np.maximum(longest, 1)[:, None])


def rank_biased_overlap(one: Int64, other: Int64) -> Float:
    """How alike lists int64 [users, 10] are, the first items most: 1 the same, 0 nothing shared."""
    weights = PERSISTENCE ** np.arange(LIST_LENGTH)
    overlap: Float = _overlaps(one, other) @ weights / weights.sum()
    return overlap


def _quality(old: People, new: People, lot: Lot) -> Difference:
    """NDCG@10 of production on what people did next; a fall counts, and so does a rise."""
    fresh = old.unlearned and new.unlearned  # else one side is guessed late in its window only
    if not fresh or min(_guessed_about(old), _guessed_about(new)) < MIN_GUESSED:
        enough = _guessed_about(new) >= MIN_GUESSED
        now = float(new.gains.sum() / new.guesses.sum()) if enough else None
        return not_comparable("ndcg", None, now)
    gains = np.concatenate((old.gains, new.gains)), np.concatenate((old.guesses, new.guesses))
    ratio = lot.ratios({"ndcg": gains})["ndcg"]
    assert ratio is not None
    effect = lost_share(ratio.before, ratio.after)
    return difference("ndcg", ratio.before, ratio.after, effect, ratio.p, ratio.change)


def _guessed_about(people: People) -> int:
    return int(np.count_nonzero(people.guesses))
