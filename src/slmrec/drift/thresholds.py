"""The smallest effects that matter: the content of `validation/drift.yaml`."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from slmrec.config import Section

StatisticName = Literal[
    "interactions_per_day",
    "new_user_share",
    "new_item_share",
    "item_popularity",
    "category_mix",
    "sequence_length",
    "time_gap",
    "repeat_share",
    "truncated_share",
    "user_states",
    "state_separation",
    "exposure",
    "list_coverage",
    "dead_items",
    "list_novelty",
    "score_margin",
    "score_entropy",
    "previous_overlap",
    "previous_rank_overlap",
    "ndcg",
]
NAMES: tuple[StatisticName, ...] = get_args(StatisticName)
"""The order of tables and plots."""
_BY_FAMILY: dict[str, tuple[StatisticName, ...]] = {
    "data": NAMES[:5],
    "sequences": NAMES[5:9],
    "embeddings": NAMES[9:11],
    "recommendations": NAMES[11:19],
    "quality": NAMES[19:],
}
FAMILIES: dict[StatisticName, str] = {
    name: family for family, names in _BY_FAMILY.items() for name in names
}
ASKED = ("embeddings", "recommendations", "quality")
"""Families for which production has to be asked."""
Effect = Annotated[float, Field(ge=0)]


class DriftThresholds(Section):
    """Least effect of each statistic that can raise an alarm; zero leaves it to the p-value."""

    interactions_per_day: Effect
    """Relative change: 0.5 is half as many again, or two thirds."""
    new_user_share: Effect
    """Difference of shares of the active users."""
    new_item_share: Effect
    """Difference of shares of the interactions."""
    item_popularity: Effect
    """Jensen-Shannon divergence in bits (0 to 1), above what chance gives."""
    category_mix: Effect
    """The same of categories."""
    sequence_length: Effect
    """Relative change of the geometric mean."""
    time_gap: Effect
    """Relative change of the geometric mean."""
    repeat_share: Effect
    """Difference of shares of the interactions."""
    truncated_share: Effect
    """Difference of shares of the users who did more than production reads."""
    user_states: Effect
    """Distance of mean embeddings in a Gaussian kernel's space (0 to 1.4), above chance."""
    state_separation: Effect
    """Area under the curve of a classifier that tells the windows apart, above chance."""
    exposure: Effect
    """Jensen-Shannon divergence of listed items in bits, above what chance gives."""
    list_coverage: Effect
    """Share of different listed items that is lost, or gained."""
    dead_items: Effect
    """Difference of shares of listed items that nobody touched in the window."""
    list_novelty: Effect
    """Difference in bits."""
    score_margin: Effect
    """Difference between first and second score, in standard deviations of it."""
    score_entropy: Effect
    """Difference in bits, of a softmax over a list."""
    previous_overlap: Effect
    """Difference of shares of a list that what served before lists, too."""
    previous_rank_overlap: Effect
    """The same, the first items most."""
    ndcg: Effect
    """Share of NDCG@10 that is lost, or gained."""

    def of(self, name: StatisticName) -> float:
        """The threshold of one statistic."""
        return float(getattr(self, name))
