"""The smallest effects that matter: the content of `validation/drift.yaml`."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from slmrec.config import Section

StatisticName = Literal[
    "interactions_per_day",
    "new_user_share",
    "new_item_share",
    "item_popularity",
    "sequence_length",
    "time_gap",
    "repeat_share",
]
NAMES: tuple[StatisticName, ...] = get_args(StatisticName)
"""The order of tables and plots."""
FAMILIES: dict[StatisticName, str] = {
    "interactions_per_day": "data",
    "new_user_share": "data",
    "new_item_share": "data",
    "item_popularity": "data",
    "sequence_length": "sequences",
    "time_gap": "sequences",
    "repeat_share": "sequences",
}
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
    sequence_length: Effect
    """Relative change of the mean."""
    time_gap: Effect
    """Relative change of the geometric mean."""
    repeat_share: Effect
    """Difference of shares of the interactions."""

    def of(self, name: StatisticName) -> float:
        """The threshold of one statistic."""
        return float(getattr(self, name))
