"""What a difference means, in words."""

from slmrec.drift.difference import Difference
from slmrec.drift.thresholds import StatisticName

LABELS: dict[StatisticName, str] = {
    "interactions_per_day": "Interactions a day",
    "new_user_share": "New users",
    "new_item_share": "New items",
    "item_popularity": "Item popularity",
    "sequence_length": "A typical user's interactions",
    "time_gap": "Time gaps",
    "repeat_share": "Repeated items",
    "category_mix": "Categories",
    "truncated_share": "More than production reads",
    "user_states": "User states",
    "state_separation": "Windows told apart by states",
    "exposure": "Listed items",
    "list_coverage": "Different items listed",
    "dead_items": "Dead items listed",
    "list_novelty": "Novelty of lists",
    "score_margin": "Lead of the first item",
    "score_entropy": "Evenness of scores",
    "previous_overlap": "Lists shared with what served before",
    "previous_rank_overlap": "The same, first items most",
    "ndcg": "Quality on what people did next",
}
_SUBJECTS: dict[StatisticName, str] = {
    "interactions_per_day": "the volume",
    "new_user_share": "the share of users without an interaction in the window before",
    "new_item_share": "the share of interactions with new items",
    "sequence_length": "a typical user's interactions (geometric mean)",
    "time_gap": "the typical time between a user's interactions",
    "repeat_share": "the share of interactions with an item the user already had",
    "truncated_share": "the share of users who did more than production reads of a history",
    "list_coverage": "the number of different items listed, per person asked about,",
    "dead_items": "the share of listed items that nobody touched in the window",
    "list_novelty": "the novelty of what production lists",
    "score_margin": "the lead of production's first item over the second",
    "score_entropy": "the evenness of production's scores",
    "previous_overlap": "the share of production's lists that what served before lists, too,",
    "previous_rank_overlap": "the agreement of lists with what served before, first items most,",
    "ndcg": "production's NDCG@10 on what people did next",
}
_SHARES = {
    "new_user_share",
    "new_item_share",
    "repeat_share",
    "truncated_share",
    "dead_items",
    "previous_overlap",
    "previous_rank_overlap",
}
_BITS = {"list_novelty", "score_entropy"}
_MOVED: dict[StatisticName, tuple[str, str]] = {
    "item_popularity": ("people turned to other items", "the interactions, new items aside,"),
    "category_mix": ("people turned to other categories", "the interactions"),
    "exposure": ("production lists other items", "what is listed"),
}


def sentence(difference: Difference) -> str:
    """One sentence with the numbers, such as "the volume fell from 310 to 150 a day"."""
    name, before, after = difference.name, difference.reference, difference.current
    if name == "ndcg" and before is None and after is not None:
        return f"{_SUBJECTS[name]} is {after:.4f}; it learned from the reference, so nothing to compare"
    if before is None or after is None:
        return f"{LABELS[name]}: too few data to compare"
    if name in _MOVED:
        what, traffic = _MOVED[name]
        return (
            f"{what}: about {difference.touched_share:.0%} of {traffic} moved (Jensen-Shannon "
            f"divergence {after:.3f} bits, by chance {before:.3f})"
        )
    if name == "user_states":
        return f"what production makes of people lies {after:.3f} apart, by chance {before:.3f}"
    if name == "state_separation":
        return (
            "of two people, one of each window, a classifier tells by their states who is who "
            f"{after:.0%} of the time, by chance {before:.0%}"
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
    if name in _BITS:
        return f"{value:.2f} bits"
    if name in ("ndcg", "score_margin"):
        return f"{value:.4f}"
    return f"{value:.2f}"


def _spell_seconds(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
