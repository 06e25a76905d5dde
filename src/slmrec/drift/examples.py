"""What moved, told by items, people and groups: for whoever wants to see it rather than believe it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.columns import ItemIndex, UserIndex
from slmrec.data.sequences import PADDING, Int64, Sequences
from slmrec.drift.difference import Float
from slmrec.drift.serving import People
from slmrec.drift.windows import Window
from slmrec.evaluation.bootstrap import Bootstrap

MOST_MOVED, EXAMPLES = 20, 5
_RESAMPLES, _SEED = 1000, 17
_DIGITS = 6


@dataclass(frozen=True)
class Names:
    """How people call what the log numbers; numbers stand in where there are none."""

    ids: Sequence[str] = ()
    """Of items, by index; the first stands for none."""
    titles: Sequence[str] = ()
    """Of items, by index; empty where an item has none."""
    users: Sequence[str] = ()

    @classmethod
    def of(cls, sequences: Sequences) -> "Names":
        """The names that sequences carry."""
        items = sequences.item_table.sort(ItemIndex.INDEX)
        ids = ["", *items[ItemIndex.ITEM].cast(str).to_list()]
        titles = ["", *items[ItemIndex.TITLE].cast(str).fill_null("").to_list()]
        return cls(ids, titles, sequences.user_table[UserIndex.USER].cast(str).to_list())

    def item(self, index: int) -> str:
        """An item's id."""
        return self.ids[index] if index < len(self.ids) else str(index)

    def title(self, index: int) -> str:
        """An item's title, else its id."""
        return (self.titles[index] if index < len(self.titles) else "") or self.item(index)

    def user(self, index: int) -> str:
        """A user's id."""
        return self.users[index] if index < len(self.users) else str(index)


def moved_items(reference: Window, current: Window, names: Names) -> list[dict[str, Any]]:
    """The items whose share of the traffic changed most, the most first."""
    count = max(len(reference.known_items), len(current.known_items))
    before, after = (
        np.bincount(window.items, minlength=count) / len(window.items)
        for window in (reference, current)
    )
    change = after - before
    order = np.argsort(-np.abs(change), kind="stable")[:MOST_MOVED]
    return [
        {
            "item_id": names.item(item),
            "title": names.title(item),
            "before": round(float(before[item]), _DIGITS),
            "after": round(float(after[item]), _DIGITS),
        }
        for item in order.tolist()
        if change[item]
    ]


def example_lists(old: People, new: People, names: Names) -> list[dict[str, Any]]:
    """What production would have shown people of both windows then, and would show them now.

    Of people who are in both samples, those whose lists changed most and least, evenly in between.
    """
    _, was, now = np.intersect1d(old.users, new.users, return_indices=True)
    if not len(was):
        return []
    shared = _shared(old.lists[was], new.lists[now])
    order = np.argsort(shared, kind="stable")
    picked = np.unique(np.linspace(0, len(order) - 1, min(EXAMPLES, len(order))).astype(int))
    return [
        {
            "user": names.user(int(old.users[was[place]])),
            "before": _titles(old.lists[was[place]], names),
            "after": _titles(new.lists[now[place]], names),
            "shared": round(float(shared[place]), _DIGITS),
        }
        for place in order[picked].tolist()
    ]


def quality_segments(old: People, new: People) -> list[dict[str, Any]]:
    """NDCG@10 on what people did next in groups of them, then and now, each with a 95 % interval.

    - `history`: thirds of the people by how much they did in the window
    - `target`: next items by how often the reference window had them: the head and the tail hold half
      of its interactions each; `new` ones it had not
    A group that one of the windows does not have, or that production learned from, is left out.
    """
    counts = np.bincount(old.window.items, minlength=len(old.window.known_items))
    order = np.argsort(-counts, kind="stable")
    head = np.zeros(len(counts), dtype=bool)
    head[order[: int(np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)) + 1]] = True
    lengths = np.array([len(one) for one in old.histories])
    low, high = np.quantile(lengths, [1 / 3, 2 / 3], method="inverted_cdf")
    found = []
    for kind, name in (
        *(("history", name) for name in ("light", "medium", "heavy")),
        *(("target", name) for name in ("head", "tail", "new")),
    ):
        sides = []
        for people in (old, new):
            rows, items, _ = people.guessed
            members = (
                _by_length(people, name, low, high)[rows]
                if kind == "history"
                else _by_target(items, name, counts, head)
            )
            sides.append(_quality(people, members))
        if all(side["users"] for side in sides):
            found.append({"kind": kind, "name": name, "reference": sides[0], "current": sides[1]})
    return found


def _by_length(people: People, name: str, low: float, high: float) -> NDArray[np.bool_]:
    lengths = np.array([len(one) for one in people.histories])
    groups = {
        "light": lengths <= low,
        "medium": (lengths > low) & (lengths <= high),
        "heavy": lengths > high,
    }
    return groups[name]


def _by_target(
    items: Int64, name: str, counts: Int64, head: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    known = counts[items] > 0
    groups = {"head": known & head[items], "tail": known & ~head[items], "new": ~known}
    return groups[name]


def _quality(people: People, members: NDArray[np.bool_]) -> dict[str, Any]:
    """Mean over the people of a group's guesses; each person counts once."""
    rows, _, gains = people.guessed
    asked = np.bincount(rows[members], minlength=len(people.users))
    gained = np.bincount(rows[members], weights=gains[members], minlength=len(people.users))
    present = asked > 0
    if not present.any():
        return {"users": 0}
    means = gained[present] / asked[present]
    drawn = Bootstrap.draw(means.astype(np.float64)[:, None], _RESAMPLES, _SEED)
    return {"users": drawn.users, "enough_users": drawn.enough, **drawn.interval(0).as_json()}


def _shared(one: Int64, other: Int64) -> Float:
    same = (one[:, :, None] == other[:, None, :]) & (one != PADDING)[:, :, None]
    longest = np.maximum((one != PADDING).sum(axis=1), (other != PADDING).sum(axis=1))
    shares: Float = same.any(axis=2).sum(axis=1) / np.maximum(longest, 1)
    return shares


def _titles(listed: Int64, names: Names) -> list[str]:
    return [names.title(int(item)) for item in listed if item != PADDING]
