"""What a full-ranking evaluation costs: at the size of a large shop, and beside a peer library.

    .venv/bin/python benchmarks/evaluation.py scale [--users N] [--items N]
    .venv/bin/python benchmarks/evaluation.py peer --python .venv-rectools/bin/python [--output FOLDER]

`scale` evaluates popularity and two models of 64 numbers an item on users made up for it, and prints
the seconds of each stage and the memory at most. `peer` ranks and judges the same users by the same
embeddings here and in RecTools, in turns, and prints medians (`make test-peers` makes its
environment). Both print JSON. Run them with nothing else on the machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmrec.config import EvaluateModels
from slmrec.data.sequences import Sequences
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.evaluation.lists import Touched, list_figures
from slmrec.evaluation.metrics import per_user, reciprocal_rank
from slmrec.evaluation.ranking import Ranking, rank_users
from slmrec.models.machine import describe, this_machine
from slmrec.models.popularity import Popularity
from slmrec.models.scorer import History
from slmrec.progress import LogLines

WIDTH, NEWEST, MEAN_LENGTH = 64, 10, 12
NEARNESS = 0.35
"""How near a user's vector is to the target's: at 20,000 items a quarter is found among ten."""
CUTOFFS = (1, 5, 10, 20)
UNCUT_USERS = 200
"""Users of whom RecTools is asked for MRR over the whole catalogue."""
BLOCK = 2**16
"""Users made up at a time."""
PEER = Path(__file__).with_name("evaluation_in_rectools.py")


class Dots:
    """Scores by the mean embedding of the newest items of a history."""

    def __init__(self, name: str, embeddings: np.ndarray) -> None:
        self.name = name
        self.parameters_total = embeddings.size
        self.parameters_backbone = 0
        self.bytes = embeddings.nbytes
        self._embeddings = embeddings
        self._turned = torch.from_numpy(embeddings).T.contiguous()

    def scores(self, histories: Sequence[History]) -> np.ndarray:
        """Scores [histories, items + 1]."""
        newest = [history[-NEWEST:] for history in histories]
        lengths = np.array([len(one) for one in newest])
        starts = np.cumsum(lengths) - lengths
        sums = np.add.reduceat(self._embeddings[np.concatenate(newest)], starts, axis=0)
        return self._products(sums / lengths[:, None].astype(np.float32))

    def _products(self, users: np.ndarray) -> np.ndarray:
        return torch.mm(torch.from_numpy(users), self._turned).numpy()


class Given(Dots):
    """Scores by embeddings of the users, who are known by where in the log their history is."""

    def __init__(self, users: np.ndarray, items: np.ndarray, log: Sequences) -> None:
        super().__init__("student", items)
        self._users = users
        self._starts = place(log.items) + log.items.itemsize * log.offsets[:-1]

    def scores(self, histories: Sequence[History]) -> np.ndarray:
        """Scores of users in the order of the log."""
        first = np.searchsorted(self._starts, place(histories[0]))
        return self._products(self._users[first : first + len(histories)])


def place(array: np.ndarray) -> int:
    """Where an array is in memory."""
    return array.__array_interface__["data"][0]


class Stages:
    """Notes how long each stage of an evaluation takes; one that reports afterwards is told by that."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._now = ""
        self._since = time.perf_counter()
        self._log = LogLines("evaluation")

    def update(self, done: float, total: float, note: str = "") -> None:
        """A model's ranks are told of when they are there, other stages when they start."""
        stage, *quality = note.split(" · ")
        now = time.perf_counter()
        self._add(stage if quality else self._now, now)
        self._now = "" if quality else stage
        self._log.update(done, total, note)

    def say(self, message: str) -> None:
        """Ignore."""

    def end(self) -> dict[str, float]:
        """Seconds of every stage."""
        self._add(self._now, time.perf_counter())
        return {name: round(seconds, 1) for name, seconds in self.seconds.items() if name}

    def _add(self, stage: str, now: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self._since = now


def scale(asked: argparse.Namespace) -> None:
    """Evaluate three models on made-up users and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        sequences = made_up(Path(folder), asked.users, asked.items)
        generator = np.random.default_rng(1)
        items = generator.standard_normal((asked.items + 1, WIDTH), dtype=np.float32)
        near = items + 0.02 * generator.standard_normal(items.shape, dtype=np.float32)
        contenders = [
            Contender("popularity", "baseline", Popularity.fit(sequences)),
            Contender("student", "student", Dots("student", items)),
            Contender("servable", "servable", Dots("servable", near)),
        ]
        stages = Stages()
        started = time.perf_counter()
        found = evaluate(contenders, sequences, EvaluateModels(), stages)
        seconds = time.perf_counter() - started
    told = {
        "machine": describe(this_machine()),
        "users": found.results["users"],
        "items": asked.items,
        "interactions": sequences.interactions,
        "seconds": {**stages.end(), "together": round(seconds, 1)},
        "peak_rss_gb": round(peak_bytes() / 1e9, 2),
        "ndcg@10": {m["name"]: m["metrics"]["ndcg@10"]["value"] for m in found.results["models"]},
    }
    print(json.dumps(told, indent=1))


def made_up(folder: Path, users: int, items: int) -> Sequences:
    """Histories of random items, few of them popular, in mapped files; the last item is the target."""
    generator = np.random.default_rng(0)
    lengths = 2 + generator.geometric(1 / (MEAN_LENGTH - 2), size=users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shapes = {"items": np.int32, "timestamps": np.int64}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, (int(offsets[-1]),))
        for name, kind in shapes.items()
    }
    for start in range(0, users, BLOCK):
        low, high = int(offsets[start]), int(offsets[min(start + BLOCK, users)])
        arrays["items"][low:high] = chosen_items(generator, high - low, items)
        arrays["timestamps"][low:high] = np.arange(low, high)
    for array in arrays.values():
        array.flush()
    return Sequences(
        offsets=offsets,
        items=np.load(folder / "items.npy", mmap_mode="r"),
        timestamps=np.load(folder / "timestamps.npy", mmap_mode="r"),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_count=items,
    )


def chosen_items(generator: np.random.Generator, size: int, items: int) -> np.ndarray:
    """Random items 1 … `items`; half of them from the first eighth of the catalogue."""
    return 1 + np.minimum(items * generator.random(size) ** 3, items - 1).astype(np.int32)


def peer(asked: argparse.Namespace) -> None:
    """Run both sides in turns, each a process of its own; print and keep medians and ratios."""
    # Both sides have threads of their own, each of which multiplies alone.
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs: dict[str, list[dict[str, Any]]] = {"slmrec": [], "RecTools": []}
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), asked.users, asked.items)
        commands = {
            "slmrec": [sys.executable, __file__, "side", folder],
            "RecTools": [str(asked.python), str(PEER), folder, str(asked.threads)],
        }
        for turn in range(asked.repeats):
            for name in [*runs][:: 1 if turn % 2 == 0 else -1]:
                done = subprocess.run(
                    commands[name],
                    env=alone,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                runs[name].append(json.loads(done.stdout))
    told = compared(runs, asked)
    text = json.dumps(told, indent=1)
    print(text)
    if asked.output:
        asked.output.mkdir(parents=True, exist_ok=True)
        (asked.output / "results.json").write_text(text + "\n", encoding="utf-8")
        (asked.output / "README.md").write_text(page(told), encoding="utf-8")


def write_inputs(folder: Path, users: int, items: int) -> None:
    """Histories, targets and embeddings under which a target is found about as often as in a shop."""
    generator = np.random.default_rng(0)
    lengths = 2 + generator.geometric(1 / (MEAN_LENGTH - 2), size=users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    history = chosen_items(generator, int(offsets[-1]), items)
    user, last = np.repeat(np.arange(users), lengths), offsets[1:] - 1
    places = user * (items + 1) + history
    known = np.delete(places, last)
    while len(again := last[np.isin(places[last], known)]):  # nobody is asked for what they know
        history[again] = generator.integers(1, items + 1, size=len(again))
        places[again] = user[again] * (items + 1) + history[again]
    table = generator.standard_normal((items + 1, WIDTH), dtype=np.float32)
    noise = generator.standard_normal((users, WIDTH), dtype=np.float32)
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "items.npy", history)
    np.save(folder / "item_vectors.npy", table)
    np.save(folder / "user_vectors.npy", NEARNESS * table[history[last]] + noise)


def side(asked: argparse.Namespace) -> None:
    """Rank and judge once, and judge once more what was ranked; print seconds and figures."""
    folder = asked.folder
    offsets, items = np.load(folder / "offsets.npy"), np.load(folder / "items.npy")
    user_vectors = np.load(folder / "user_vectors.npy")
    item_vectors = np.load(folder / "item_vectors.npy")
    sequences = Sequences(
        offsets=offsets,
        items=items,
        timestamps=np.arange(len(items)),
        train_end=offsets[1:] - 1,
        validation_end=offsets[1:] - 1,
        item_count=len(item_vectors) - 1,
    )
    started = time.perf_counter()
    model = Given(user_vectors, item_vectors, sequences)
    ranking = rank_users(model, sequences, *sequences.targets("test"), exclude_seen=True)
    ranked = time.perf_counter()
    figures = judged(ranking, sequences)
    ended = time.perf_counter()
    seconds = {
        "whole": ended - started,
        "metrics": ended - ranked,
        "uncut_a_user": (ended - started) / sequences.users,
    }
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), "figures": figures}))


def judged(ranking: Ranking, sequences: Sequences) -> dict[str, float]:
    """Means of all metrics, and what the lists are like."""
    found = {
        name: float(column.mean()) for name, column in per_user(ranking.ranks, CUTOFFS).items()
    }
    found["mrr_of_some"] = float(reciprocal_rank(ranking.ranks[:UNCUT_USERS]).mean())
    found |= {f"recall@{k}": found[f"hr@{k}"] for k in CUTOFFS}  # there is one target a user
    return {**found, **list_figures(ranking.lists, Touched(sequences))}


def compared(runs: dict[str, list[dict[str, Any]]], asked: argparse.Namespace) -> dict[str, Any]:
    """Medians, ratios, and how far apart figures of the same rule are."""
    medians = {
        name: {
            what: statistics.median(run["seconds"][what] for run in mine)
            for what in ("whole", "metrics", "uncut_a_user")
        }
        for name, mine in runs.items()
    }
    ours, theirs = (mine[0]["figures"] for mine in runs.values())
    same = sorted(ours.keys() & theirs.keys())
    return {
        "machine": describe(this_machine()),
        "threads": asked.threads,
        "users": asked.users,
        "items": asked.items,
        "repeats": asked.repeats,
        "seconds": medians,
        "times_as_fast": {
            what: round(medians["RecTools"][what] / medians["slmrec"][what], 1)
            for what in medians["slmrec"]
        },
        "peak_gb": {
            name: round(max(run["peak_bytes"] for run in mine) / 1e9, 2)
            for name, mine in runs.items()
        },
        "figures": {name: {"slmrec": ours[name], "RecTools": theirs[name]} for name in same},
        "largest_difference": max(abs(ours[name] - theirs[name]) for name in same),
        "runs": {name: [run["seconds"] for run in mine] for name, mine in runs.items()},
    }


def page(told: dict[str, Any]) -> str:
    """The figures as Markdown."""
    seconds, memory = told["seconds"], told["peak_gb"]
    rows = [
        f"| {name} | {seconds[name]['whole']:.2f} | {seconds[name]['metrics']:.2f} "
        f"| {1e6 * seconds[name]['uncut_a_user']:,.0f} | {memory[name]:.2f} |"
        for name in seconds
    ]
    ratio = told["times_as_fast"]
    cutoffs = ", ".join(str(k) for k in CUTOFFS)
    return "\n".join(
        [
            "# Full-ranking evaluation beside RecTools",
            "",
            f"{told['users']:,} users, {told['items']:,} items, embeddings of {WIDTH} numbers, "
            f"seen items left out; {told['threads']} threads each, sides in turns, medians of "
            f"{told['repeats']}. {told['machine']}.",
            "",
            "```",
            "make test-peers",
            f".venv/bin/python benchmarks/evaluation.py peer --users {told['users']} "
            f"--items {told['items']} --threads {told['threads']} --repeats {told['repeats']} "
            "--python .venv-rectools/bin/python",
            "```",
            "",
            "| | scores, lists and metrics, s | metrics of given lists, s | with uncut MRR, μs a user "
            "| GB at most |",
            "|---|---|---|---|---|",
            *rows,
            f"| times as fast | {ratio['whole']:.1f} | {ratio['metrics']:.1f} "
            f"| {ratio['uncut_a_user']:.1f} | |",
            "",
            f"HR, NDCG, MRR and Recall at {cutoffs}, coverage, novelty and diversity "
            "are of the same rule on both sides and differ by at most "
            f"{told['largest_difference']:.1e}. RecTools lists 20 items by its ImplicitRanker and adds "
            "the mean popularity of what is listed; slmrec ranks every target among all items and adds "
            "uncut MRR, popularity, Gini coefficient and personalization of ten listed items. Uncut "
            f"MRR takes RecTools lists of the whole catalogue: measured on {UNCUT_USERS} users.",
            "",
        ]
    )


def peak_bytes() -> int:
    """Memory that this process has held at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    at_scale = commands.add_parser("scale", help="seconds a stage and memory of a large evaluation")
    at_scale.add_argument("--users", type=int, default=1_000_000)
    at_scale.add_argument("--items", type=int, default=100_000)
    at_scale.set_defaults(run=scale)
    beside = commands.add_parser("peer", help="the same through RecTools, in turns")
    beside.add_argument("--python", type=Path, required=True, help="of RecTools' environment")
    beside.add_argument("--users", type=int, default=100_000)
    beside.add_argument("--items", type=int, default=20_000)
    beside.add_argument("--repeats", type=int, default=3)
    beside.add_argument("--threads", type=int, default=2)
    beside.add_argument("--output", type=Path, help="folder for a page and its numbers")
    beside.set_defaults(run=peer)
    one = commands.add_parser("side", help="our side of 'peer', once")
    one.add_argument("folder", type=Path)
    one.set_defaults(run=side)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
