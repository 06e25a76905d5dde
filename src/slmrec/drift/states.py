"""Whether what production makes of people's histories has moved: two tests on their states.

The published way, a bootstrap of the maximum mean discrepancy against its own variance, alarmed on
equal data 60 times of 60; a permutation test of the same distance has the level it is asked for.
"""

import numpy as np
from numpy.typing import NDArray

from slmrec.drift.difference import Difference, Float, Lot, difference, p_value

FEATURES = 256
"""Random Fourier features of the kernel (Rahimi and Recht, 2007)."""
PAIRS = 1000
"""Pairs of users whose median distance is the width of the kernel."""
RIDGE = 1.0
"""Of the classifier, in units of standardized states."""
_ROWS = 256
Narrow = NDArray[np.float32]


def compare_states(
    old: NDArray[np.floating], new: NDArray[np.floating], lot: Lot, rng: np.random.Generator
) -> list[Difference]:
    """Compare states float [users, width] of the users of both windows, whom `lot` parts.

    - `user_states`: distance of the mean embeddings in a Gaussian kernel's space (maximum mean
      discrepancy; Gretton et al., 2012) above what permutations give
    - `state_separation`: area under the curve of a linear classifier that tells the windows apart,
      each user left out of its own classifier, above what permutations give, about one half
    """
    states = _standardized(np.concatenate((old, new)).astype(np.float64))
    features = _features(states, rng)
    labels = lot.labels
    sums = labels @ features.astype(np.float32)  # [permutations, features]
    whole, current = features.sum(axis=0), features[lot.old :].sum(axis=0)
    observed = _distance(whole[None], current[None], lot)[0]
    drawn = _distance(whole[None], sums.astype(np.float64), lot)
    auc, by_chance = _separations(states, lot)
    touched = max(0.0, 2 * auc - 1)
    excess = float(np.sqrt(max(0.0, observed**2 - float((drawn**2).mean()))))
    return [
        difference(
            "user_states",
            float(drawn.mean()),
            float(observed),
            excess,
            p_value(drawn, float(observed)),
            touched,
        ),
        difference(
            "state_separation",
            float(by_chance.mean()),
            auc,
            max(0.0, auc - float(by_chance.mean())),
            p_value(by_chance, auc),
            touched,
        ),
    ]


def _standardized(states: Float) -> Float:
    """Each dimension with mean 0 and deviation 1; one that never varies says nothing."""
    spread = states.std(axis=0)
    varies = spread > 1e-9
    scaled: Float = (states[:, varies] - states[:, varies].mean(axis=0)) / spread[varies]
    return scaled


def _features(states: Float, rng: np.random.Generator) -> Float:
    pairs = rng.integers(0, len(states), (2, PAIRS))
    distances = np.linalg.norm(states[pairs[0]] - states[pairs[1]], axis=1)
    width = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    directions = rng.normal(size=(states.shape[1], FEATURES)) / width
    phases = rng.uniform(0, 2 * np.pi, FEATURES)
    waves: Float = np.cos(states @ directions + phases) * np.sqrt(2 / FEATURES)
    return waves


def _distance(whole: Float, current: Float, lot: Lot) -> Float:
    gap = current / lot.new - (whole - current) / lot.old
    distance: Float = np.linalg.norm(gap, axis=1)
    return distance


def _separations(states: Float, lot: Lot) -> tuple[float, Float]:
    """Area under the curve, observed and for each permutation, every user judged by the others.

    Ridge regression on the labels: the answer for a user without that user is
    (ŷ − h y) / (1 − h), h the user's leverage, so all permutations need one matrix product.
    """
    design = np.concatenate((states, np.ones((len(states), 1))), axis=1)
    penalty = np.full(design.shape[1], RIDGE)
    penalty[-1] = 0.0
    gram = design.T @ design + np.diag(penalty)
    solved = np.asarray(np.linalg.solve(gram, design.T), dtype=np.float64)  # [width + 1, users]
    leverage = np.einsum("uw,wu->u", design, solved)
    narrow = (design.astype(np.float32), solved.astype(np.float32), leverage.astype(np.float32))
    observed = np.zeros((1, len(states)), dtype=np.float32)
    observed[:, lot.old :] = 1
    drawn = [
        _areas(*narrow, lot.labels[start : start + _ROWS])
        for start in range(0, len(lot.labels), _ROWS)
    ]
    return float(_areas(*narrow, observed)[0]), np.concatenate(drawn)


def _areas(design: Narrow, solved: Narrow, leverage: Narrow, labels: Narrow) -> Float:
    """Area under the curve of each row of labels [rows, users] (Mann and Whitney): float64 [rows].

    Equal answers of users of both windows, which their own labels keep apart, need no care.
    """
    fitted = (labels @ solved.T) @ design.T
    alone = (fitted - leverage * labels) / np.maximum(1 - leverage, 1e-6)
    # A number's last bit says whose it is, so that one sort of numbers is enough.
    marked = (alone.view(np.int32) & ~1) | labels.astype(np.int32)
    ordered = np.sort(marked.view(np.float32), axis=1).view(np.int32) & 1
    current = labels.sum(axis=1, dtype=np.float64)
    ranks = ordered.astype(np.float64) @ np.arange(1, labels.shape[1] + 1)
    areas: Float = (ranks - current * (current + 1) / 2) / (current * (labels.shape[1] - current))
    return areas
