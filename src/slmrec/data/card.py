"""The data card: what was read, what became of it, and what the log looks like."""

from pathlib import Path
from typing import Any

import polars as pl

from slmrec.columns import Interactions, Quarantine


def data_card(interactions: Path, items: Path, quarantine: Path, filtered: int) -> dict[str, Any]:
    """Describe the three ingested files (Parquet); `filtered` rows were left out on request.

    `rows_in` is always `kept` + `filtered` + `quarantined`. Times are seconds since 1970, null when
    nothing was kept. `equal_time_share` is the share of interactions that have the same user and
    timestamp as another: inside it the order is the source's, not time's.
    """
    log = pl.scan_parquet(interactions)
    counts = log.select(
        pl.len().alias("kept"),
        pl.col(Interactions.USER).n_unique().alias("users"),
        pl.col(Interactions.ITEM).n_unique().alias("items"),
        pl.col(Interactions.TIME).min().alias("first"),
        pl.col(Interactions.TIME).max().alias("last"),
        pl.col(Interactions.RATING).is_not_null().sum().alias("rated"),
    ).collect(engine="streaming")
    shared = (
        log.group_by(Interactions.USER, Interactions.TIME)
        .len()
        .filter(pl.col("len") > 1)
        .select(pl.col("len").sum())
        .collect(engine="streaming")
        .item()
    )
    reasons = (
        pl.scan_parquet(quarantine)
        .group_by(Quarantine.REASON)
        .len()
        .sort(Quarantine.REASON)
        .collect(engine="streaming")
    )
    described = pl.scan_parquet(items).select(pl.len()).collect().item()
    card: dict[str, Any] = dict(counts.row(0, named=True))
    quarantined = int(reasons["len"].sum())
    return {
        **card,
        "rows_in": card["kept"] + filtered + quarantined,
        "filtered": filtered,
        "quarantined": quarantined,
        "quarantine_reasons": dict(reasons.iter_rows()),
        "described_items": described,
        "equal_time_share": round((shared or 0) / max(card["kept"], 1), 6),
    }
