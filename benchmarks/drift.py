"""Whether drift alarms are right: replays without any change, planted changes, a real log by month.

    PYTHONPATH=. .venv/bin/python benchmarks/drift.py LOG --registry var/registry --output FOLDER

LOG is the canonical log of a run, its `interactions.parquet` and `items.parquet` in a folder; the
registry's production is asked about its people. People are drawn with replacement from those of
`--days` days in the middle of the log, so no two windows differ but by chance, or by what is planted.
Against one reference stand two windows, as against the log that production learned from: `drift` needs
the same alarm in both.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.paths import ROOT
from slmrec.config import MonitorDrift
from slmrec.drift.difference import Difference
from slmrec.drift.log_statistics import compare_logs
from slmrec.drift.monitor import which_alarm
from slmrec.drift.serving import People, Serving, look
from slmrec.drift.serving_statistics import compare_people
from slmrec.drift.thresholds import DriftThresholds
from slmrec.drift.windows import Window
from slmrec.models.item_map import TranslatedServable
from slmrec.models.servable import Servable
from slmrec.policy import load_policy
from slmrec.progress import LogLines
from slmrec.registry.store import Registry
from slmrec.registry.versions import MODEL

DAY = 86_400
KEEP_EVERY = 20
"""Replays after which what was found is written."""
CONFIG = MonitorDrift()
THRESHOLDS = load_policy(ROOT / "validation" / "drift.yaml", DriftThresholds)
Change = Callable[["Pool", np.ndarray, np.random.Generator], tuple[Window, People]]


class Pool:
    """People of some days of a log, each with what they did, and what production makes of it."""

    def __init__(self, log: pl.DataFrame, items: pl.DataFrame, registry: Path, days: int) -> None:
        times = log["timestamp"].to_numpy()
        middle = int(np.median(times))
        part = log.filter(
            (pl.col("timestamp") >= middle) & (pl.col("timestamp") < middle + days * DAY)
        ).sort("user_id", "timestamp")
        ids = part["item_id"].unique().sort().to_list()
        table = pl.DataFrame({"item_index": range(1, len(ids) + 1), "item_id": ids})
        numbers = dict(zip(ids, range(1, len(ids) + 1), strict=True))
        self.items = len(ids)
        self.start, self.days = middle, days
        grouped = part.group_by("user_id", maintain_order=True).agg("item_id", "timestamp")
        self.histories = [
            np.array([numbers[item] for item in one], dtype=np.int64)
            for one in grouped["item_id"].to_list()
        ]
        self.times = [np.array(one, dtype=np.int64) for one in grouped["timestamp"].to_list()]
        known = {item: n for n, item in enumerate(sorted(set(items["category"].to_list())))}
        of_item = dict(zip(items["item_id"], items["category"], strict=True))
        self.categories = np.array([0, *(known[of_item[item]] for item in ids)])
        production = Registry(registry).production()
        assert production is not None, "the registry has no production"
        servable = Servable(Registry(registry).artifact(production.number, MODEL))
        model = TranslatedServable(servable, table, "production")
        counts = model.counts()
        self.novelty = -np.log2(np.maximum(counts, 1) / counts.sum())
        self.max_length = servable.max_length
        everybody = np.arange(len(self.histories))
        window = self.window(everybody, np.random.default_rng(0))
        self.people = look(window, Serving(model, 1, 0), len(everybody), np.random.default_rng(0))
        self.asked = np.full(len(everybody), -1)
        self.asked[self.people.users] = np.arange(len(self.people.users))

    def draw(self, users: int, rng: np.random.Generator) -> np.ndarray:
        """People by lot, with replacement."""
        return rng.integers(0, len(self.histories), users)

    def window(
        self,
        chosen: np.ndarray,
        rng: np.random.Generator,
        histories: list[np.ndarray] | None = None,
        times: list[np.ndarray] | None = None,
        size: int | None = None,
    ) -> Window:
        """The chosen people as the users of a window, four of ten of whom were there before."""
        histories = histories or [self.histories[person] for person in chosen]
        times = times or [self.times[person] for person in chosen]
        lengths = [len(one) for one in histories]
        users = np.repeat(np.arange(len(chosen)), lengths)
        moments = np.concatenate(times)
        order = np.argsort(moments, kind="stable")
        count = (size or self.items) + 1
        before = rng.integers(0, len(self.histories), len(chosen))
        known = np.zeros(count, dtype=bool)
        known[np.concatenate([self.histories[person] for person in before])] = True
        return Window(
            0,
            len(moments),
            users[order],
            np.concatenate(histories)[order],
            moments[order],
            rng.random(len(chosen)) < 0.4,
            known,
        )

    def asked_people(self, chosen: np.ndarray, window: Window) -> People:
        """What production makes of the chosen people."""
        rows = self.asked[chosen]
        rows = rows[rows >= 0]
        return replace(
            self.people,
            window=window,
            users=np.arange(len(rows)),
            histories=tuple(self.people.histories[row] for row in rows),
            states=self.people.states[rows],
            lists=self.people.lists[rows],
            scores=self.people.scores[rows],
            gains=self.people.gains[rows],
            guesses=self.people.guesses[rows],
            guessed=(rows[:0], rows[:0], self.people.gains[:0]),  # their sums are all that counts
        )


def same(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Window, People]:
    """Nothing changes."""
    window = pool.window(chosen, rng)
    return window, pool.asked_people(chosen, window)


def more_popular(share: float, factor: float, head: bool) -> Change:
    """Some items, a share of all, become so many times as popular: the head's, or drawn by lot."""

    def change(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Window, People]:
        counts = np.bincount(np.concatenate(pool.histories), minlength=pool.items + 1)
        number = max(1, round(share * pool.items))
        order = np.argsort(-counts[1:], kind="stable") + 1
        lot = np.random.default_rng(1)  # the same items in both windows
        favoured = order[:number] if head else lot.choice(order, number, replace=False)
        held = counts[favoured].sum() / counts.sum()
        inside = np.zeros(pool.items + 1, dtype=bool)
        inside[favoured] = True
        turned = (factor - 1) * held / (1 - held)
        weights = counts[favoured] / counts[favoured].sum()
        histories = []
        for person in chosen:
            items = pool.histories[person].copy()
            moved = ~inside[items] & (rng.random(len(items)) < turned)
            items[moved] = rng.choice(favoured, int(moved.sum()), p=weights)
            histories.append(items)
        window = pool.window(chosen, rng, histories)
        return window, pool.asked_people(chosen, window)

    return change


def swapped(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Window, People]:
    """A tenth of the catalogue gives way to other items."""
    gone = np.random.default_rng(1).choice(
        np.arange(1, pool.items + 1), pool.items // 10, replace=False
    )
    place = np.arange(pool.items + 1)
    place[gone] = pool.items + 1 + np.arange(len(gone))
    histories = [place[pool.histories[person]] for person in chosen]
    window = pool.window(chosen, rng, histories, size=pool.items + len(gone))
    return window, pool.asked_people(
        chosen, replace(window, items=np.minimum(window.items, pool.items))
    )


def shorter(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Window, People]:
    """Histories end a fifth earlier."""
    kept = [max(1, int(0.8 * len(pool.histories[person]) + rng.random())) for person in chosen]
    window = pool.window(
        chosen,
        rng,
        [pool.histories[person][:n] for person, n in zip(chosen, kept, strict=True)],
        [pool.times[person][:n] for person, n in zip(chosen, kept, strict=True)],
    )
    return window, pool.asked_people(chosen, window)


def moved_states(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Window, People]:
    """Every direction of the states moves by a fifth of its deviation."""
    window, people = same(pool, chosen, rng)
    step = (0.2 * pool.people.states.std(axis=0)).astype(np.float32)
    return window, replace(people, states=people.states + step)


def worse(pool: Pool, chosen: np.ndarray, rng: np.random.Generator) -> tuple[Window, People]:
    """One of ten things that people did next is something that production does not list."""
    window, people = same(pool, chosen, rng)
    rows, _, gains = pool.people.guessed
    kept = np.where(rng.random(len(gains)) < 0.1, 0.0, gains)
    fewer = np.bincount(rows, weights=kept, minlength=len(pool.people.users))
    mine = pool.asked[chosen]
    return window, replace(people, gains=fewer[mine[mine >= 0]])


def differences(
    pool: Pool, old: tuple[Window, People], new: tuple[Window, People], rng: np.random.Generator
) -> list[Difference]:
    """All statistics of two windows. Volume is left out: drawn people say nothing about it."""
    size = max(len(old[0].known_items), len(new[0].known_items))
    old_window, new_window = (
        replace(one[0], known_items=np.pad(one[0].known_items, (0, size - len(one[0].known_items))))
        for one in (old, new)
    )
    categories = np.pad(pool.categories, (0, size - len(pool.categories)))
    found = compare_logs(
        old_window,
        new_window,
        permutations=CONFIG.permutations,
        max_users=CONFIG.max_users,
        rng=rng,
        categories=categories,
        max_length=pool.max_length,
        adds_up=True,
    )
    found = [one for one in found if one.name != "interactions_per_day"]
    return found + compare_people(
        old[1], new[1], novelty=pool.novelty, permutations=CONFIG.permutations, rng=rng
    )


def replay(
    pool: Pool, change: Change, users: int, seed: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Which statistics alarm in the newer of two windows against one reference, and which in both."""
    rng = np.random.default_rng(seed)
    reference = same(pool, pool.draw(users, rng), rng)
    alarming = []
    for _ in range(2):
        window, people = change(pool, pool.draw(users, rng), rng)
        known = reference[0].touched_items()
        known = np.pad(known, (0, len(window.known_items) - len(known)))
        current = replace(window, known_items=known), people
        found = differences(pool, reference, current, rng)
        alarms = which_alarm(found, CONFIG.false_discovery_rate, THRESHOLDS)
        alarming.append(
            frozenset(one.name for one, alarm in zip(found, alarms, strict=True) if alarm)
        )
    return alarming[1], alarming[0] & alarming[1]


def main() -> None:
    """Replay and write what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("log", type=Path)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--nulls", type=int, default=1000)
    parser.add_argument("--planted", type=int, default=100)
    parser.add_argument("--factors", type=int, default=40)
    parser.add_argument("--only", default="", help="changes whose name holds this, parts by |")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    log = pl.read_parquet(chosen.log / "interactions.parquet")
    items = pl.read_parquet(chosen.log / "items.parquet").with_columns(
        pl.col("category").cast(str).fill_null("")
    )
    pool = Pool(log, items, chosen.registry, chosen.days)
    results: dict[str, Any] = {
        "people_in_pool": len(pool.histories),
        "items": pool.items,
        "users_a_window": chosen.users,
        "permutations": CONFIG.permutations,
    }
    changes: dict[str, tuple[Change, int]] = {
        "nothing": (same, chosen.nulls),
        "5 % of the items, the most popular, x 1.5": (
            more_popular(0.05, 1.5, True),
            chosen.planted,
        ),
        "5 % of the items, by lot, x 1.5": (more_popular(0.05, 1.5, False), chosen.factors),
        "5 % of the items, by lot, x 2": (more_popular(0.05, 2.0, False), chosen.factors),
        "5 % of the items, by lot, x 2.5": (more_popular(0.05, 2.5, False), chosen.factors),
        "5 % of the items, by lot, x 3": (more_popular(0.05, 3.0, False), chosen.factors),
        "10 % of the catalogue swapped": (swapped, chosen.planted),
        "states moved by .2 sd": (moved_states, chosen.planted),
        "histories 20 % shorter": (shorter, chosen.planted),
        "NDCG@10 down 10 %": (worse, chosen.planted),
    }
    chosen.output.mkdir(parents=True, exist_ok=True)
    for name, (change, times) in changes.items():
        if not any(part in name for part in chosen.only.split("|")):
            continue
        progress = LogLines(name)
        found: list[tuple[frozenset[str], frozenset[str]]] = []
        for seed in range(times):
            found.append(replay(pool, change, chosen.users, seed))
            results[name] = counted(found)
            progress.update(len(found), times, f"· {results[name]['drift']} drift")
            if len(found) % KEEP_EVERY == 0 or len(found) == times:
                text = json.dumps(results, indent=1, sort_keys=True)
                (chosen.output / "results.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def counted(found: list[tuple[frozenset[str], frozenset[str]]]) -> dict[str, Any]:
    """How many replays end in drift, and by which statistics; how many alarm in the newest window."""
    names = sorted({statistic for _, lasting in found for statistic in lasting})
    return {
        "replays": len(found),
        "drift": sum(bool(lasting) for _, lasting in found),
        "alarm_in_the_newest": sum(bool(newest) for newest, _ in found),
        "statistics": {name: sum(name in lasting for _, lasting in found) for name in names},
    }


if __name__ == "__main__":
    main()
