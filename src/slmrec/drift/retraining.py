"""Whether a run has a reason to train."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from slmrec.columns import ItemIndex
from slmrec.config import DecideRetraining
from slmrec.data.sequences import Sequences
from slmrec.drift.verdicts import DRIFT
from slmrec.registry.decisions import Decision
from slmrec.registry.versions import DataFacts, Version

OTHER_LOG_SHARE = 0.5
"""Fewer interactions than this share with known items, and the log is not the one that grew."""


@dataclass(frozen=True)
class RetrainingDecision:
    """Yes or no, and why in one sentence."""

    retrain: bool
    reason: str


def data_facts(sequences: Sequences) -> DataFacts:
    """What a version remembers of the log it was made from."""
    assert sequences.artifact is not None, "sequences that were not loaded have no digest"
    card = sequences.artifact.json("card.json")
    return DataFacts(
        sequences_digest=sequences.artifact.digest,
        interactions=sequences.interactions,
        last=int(np.max(sequences.timestamps)),
        source_digest=card["source_digest"],
        log_interactions=card["interactions_before"],
        trained_until=int(np.max(sequences.timestamps[sequences.split_mask("train")], initial=0)),
        order_only=sequences.order_only,
    )


def new_since(sequences: Sequences, known: DataFacts) -> int:
    """Interactions that are newer than an earlier log; without times, how many more there are."""
    if sequences.order_only:
        return max(0, sequences.interactions - known.interactions)
    return int(np.count_nonzero(np.asarray(sequences.timestamps) > known.last))


def known_share(sequences: Sequences, catalogue: pl.DataFrame) -> float:
    """Share of the interactions whose item id is in another model's catalogue (`ItemIndex`)."""
    known = sequences.item_table.join(catalogue, on=ItemIndex.ITEM, how="semi")
    return float(known[ItemIndex.COUNT].sum() / max(sequences.interactions, 1))


def decide(
    verdict: str,
    production: Version | None,
    new_interactions: int,
    code_digest: str,
    settings_digest: str,
    known_share: float,
    force: bool,
    config: DecideRetraining,
    *,
    request: Decision | None = None,
    snooze: Decision | None = None,
) -> RetrainingDecision:
    """Decide; the first reason that holds is the one that is given.

    `new_interactions` are those since the production model's log; `known_share` is the share
    of all interactions whose item is in its catalogue. An empty digest says that the code or the
    settings are not known and gives no reason to train. `request` is a person's, not yet answered;
    `snooze` one that has not ended, which keeps drift from being a reason.
    """
    if force:
        return RetrainingDecision(True, "training was forced")
    if production is None:
        return RetrainingDecision(True, "there is no production model yet")
    if request is not None:
        return RetrainingDecision(True, f"{request.actor} asked for it: {request.reason}")
    if config.on_code_change and code_digest and code_digest != production.code_digest:
        return RetrainingDecision(
            True,
            f"the code changed: {code_digest[:12]}, version {production.number} was trained by "
            f"{production.code_digest[:12] or 'unknown code'}",
        )
    if settings_digest and settings_digest != production.settings_digest:
        return RetrainingDecision(
            True, f"the settings are not those that version {production.number} was trained with"
        )
    if known_share < OTHER_LOG_SHARE:
        return RetrainingDecision(
            True,
            f"only {known_share:.0%} of the interactions are with items that version "
            f"{production.number} knows: it was made from another log",
        )
    if config.on_drift and verdict == DRIFT and snooze is None:
        return RetrainingDecision(True, "the newest data have drifted from the past")
    saw = production.data.interactions
    share = new_interactions / saw
    news = (
        f"{new_interactions:,} interactions are new since version {production.number}, "
        f"{share:.1%} of the {saw:,} in its log"
    )
    if new_interactions and share >= config.min_new_share:
        return RetrainingDecision(True, news)
    ignored = f", ignored until {snooze.until} for {snooze.actor}" if snooze is not None else ""
    return RetrainingDecision(
        False,
        f"{news}, needed are {config.min_new_share:.1%}; the drift verdict is '{verdict}'{ignored}",
    )
