"""What a difference means, in words."""

from slmrec.drift.statistics import Difference
from slmrec.drift.thresholds import StatisticName

LABELS: dict[StatisticName, str] = {
    "interactions_per_day": "Interactions a day",
    "new_user_share": "New users",
    "new_item_share": "New items",
    "item_popularity": "Item popularity",
    "sequence_length": "Interactions a user",
    "time_gap": "Time gaps",
    "repeat_share": "Repeated items",
}
_SUBJECTS: dict[StatisticName, str] = {
    "interactions_per_day": "the volume",
    "new_user_share": "the share of users without an interaction in the window before",
    "new_item_share": "the share of interactions with items that the window before did not have",
    "sequence_length": "interactions a user",
    "time_gap": "the typical time between a user's interactions",
    "repeat_share": "the share of interactions with an item the user already had",
}
_SHARES = {"new_user_share", "new_item_share", "repeat_share"}


def sentence(difference: Difference) -> str:
    """One sentence with the numbers, such as "the volume fell from 310 to 150 a day"."""
    name, before, after = difference.name, difference.reference, difference.current
    if before is None or after is None:
        return f"{LABELS[name]}: too few data to compare"
    if name == "item_popularity":
        return (
            f"people turned to other items: about {difference.touched_share:.0%} of the interactions "
            f"moved (Jensen-Shannon divergence {after:.3f} bits, by chance {before:.3f})"
        )
    return (
        f"{_SUBJECTS[name]} {_verb(before, after)} {_spell(name, before)} to {_spell(name, after)}"
    )


def _verb(before: float, after: float) -> str:
    return "rose from" if after > before else "fell from" if after < before else "stayed, from"


def _spell(name: StatisticName, value: float) -> str:
    if name in _SHARES:
        return f"{value:.1%}"
    if name == "interactions_per_day":
        return f"{value:,.0f} a day" if value >= 10 else f"{value:.2g} a day"
    if name == "time_gap":
        return _spell_seconds(value)
    return f"{value:.2f}"


def _spell_seconds(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
