"""What explains quality without a sequence model: the newest items, what is popular, repeats.

Where item transitions reach what a student reaches, or its newest item alone, a sequence model does not
pay. The report says so in a sentence.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from slmrec.data.sequences import Sequences
from slmrec.evaluation.bootstrap import Bootstrap
from slmrec.evaluation.metrics import HEADLINE_CUTOFF, Floats, ndcg
from slmrec.evaluation.ranking import checked_scores, histories_before, rank_targets
from slmrec.evaluation.sampled import Probe
from slmrec.models.scorer import History, Scorer

LENGTHS = (1, 3, 10)
"""Newest items that a model is left with."""
_ROWS = 256
_DIGITS = 6


class Shortened(TypedDict):
    """NDCG@10 with the newest items of each history alone, and what all of it adds."""

    newest: int
    value: float
    whole_adds: float
    ci95: list[float]


class Shortcuts(TypedDict):
    """How much of a model's quality has a simple explanation."""

    repeat_share: float
    """Of test users, those whose target stands in their history."""
    reached: dict[str, float | None]
    """NDCG@10 of each baseline as a share of the model's, over all test users; none of nothing."""
    shortened: list[Shortened]
    """On the probe's users."""
    sentence: str


def diagnose(
    model: Scorer,
    sequences: Sequences,
    probe: Probe,
    quality: Mapping[str, float],
    own: float,
    repeats: float,
    *,
    exclude_seen: bool,
    resamples: int,
    seed: int,
) -> Shortcuts:
    """Compare a model with baselines, and with itself on shortened histories.

    `quality` is NDCG@10 of each baseline and `own` that of the model over all test users.
    """
    whole = _gains(model, sequences, probe, None, exclude_seen)
    parts = [_gains(model, sequences, probe, newest, exclude_seen) for newest in LENGTHS]
    drawn = Bootstrap.draw(np.stack([whole, *parts], axis=1), resamples, seed)
    shortened: list[Shortened] = []
    for place, newest in enumerate(LENGTHS, start=1):
        found = drawn.difference(0, place)
        shortened.append(
            {
                "newest": newest,
                "value": round(float(drawn.means[place]), _DIGITS),
                "whole_adds": round(found.value, _DIGITS),
                "ci95": [round(found.low, _DIGITS), round(found.high, _DIGITS)],
            }
        )
    reached: dict[str, float | None] = {
        name: round(value / own, _DIGITS) if own else None for name, value in quality.items()
    }
    return {
        "repeat_share": round(repeats, _DIGITS),
        "reached": reached,
        "shortened": shortened,
        "sentence": sentence(reached, shortened, repeats, enough=drawn.enough),
    }


def sentence(
    reached: Mapping[str, float | None],
    shortened: Sequence[Shortened],
    repeats: float,
    *,
    enough: bool = True,
) -> str:
    """What the figures say about whether a sequence model pays; `enough`: of users to say it."""
    known = {name: share for name, share in reached.items() if share is not None}
    if len(known) < len(reached):
        return "The student hits nothing, so there is no quality to explain."
    shares = " and ".join(
        f"{name} reach{'' if name.endswith('s') else 'es'} {share:.0%}"
        for name, share in sorted(known.items(), key=lambda pair: -pair[1])
    )
    sufficient = next((one["newest"] for one in shortened if one["ci95"][0] <= 0), None)
    if not enough:
        longer = "there are too few users to say whether longer histories help"
    elif sufficient is None:
        last = shortened[-1]
        longer = (
            f"histories beyond the newest {last['newest']} items add {last['whole_adds']:+.4f} "
            f"[{last['ci95'][0]:+.4f}, {last['ci95'][1]:+.4f}] NDCG@10"
        )
    else:
        items = "item" if sufficient == 1 else f"{sufficient} items"
        longer = f"nothing that these users show is gained by more than the newest {items}"
    return f"Of the student's NDCG@10 {shares}; {longer}; {repeats:.1%} of the targets are repeats."


def repeat_share(
    sequences: Sequences, users: NDArray[np.int64], positions: NDArray[np.int64]
) -> float:
    """Share of test users whose target stands in their history."""
    found = 0
    for start in range(0, len(users), 8192):
        here = slice(start, start + 8192)
        histories = histories_before(sequences, users[here], positions[here])
        targets = np.asarray(sequences.items[positions[here]])
        lengths = [len(history) for history in histories]
        same = np.concatenate(histories) == np.repeat(targets, lengths)
        found += len(np.unique(np.repeat(np.arange(len(targets)), lengths)[same]))
    return found / len(users)


def _gains(
    model: Scorer, sequences: Sequences, probe: Probe, newest: int | None, exclude_seen: bool
) -> Floats:
    """NDCG@10 of the probe's users where the model sees their newest items alone; all count as seen."""
    gains = []
    targets = np.asarray(sequences.items[probe.positions], dtype=np.int32)
    for start in range(0, len(targets), _ROWS):
        here = slice(start, start + _ROWS)
        whole = histories_before(sequences, probe.users[here], probe.positions[here])
        asked: list[History] = whole if newest is None else [one[-newest:] for one in whole]
        scores = checked_scores(model, asked, sequences.item_count + 1, model.name)
        ranks = rank_targets(scores, whole, targets[here], exclude_seen=exclude_seen)
        gains.append(ndcg(ranks, HEADLINE_CUTOFF))
    return np.concatenate(gains)
