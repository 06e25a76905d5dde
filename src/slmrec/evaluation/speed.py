"""How long a recommendation takes and how many users a second one machine serves."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice

import numpy as np

from slmrec.config import EvaluateModels
from slmrec.data.sequences import Sequences
from slmrec.evaluation.ranking import answer, histories_before
from slmrec.models.scorer import History, Layered, Scorer
from slmrec.progress import Progress, Silent

WARM_UP = 5
"""Untimed requests a model, so that caches and thread pools are there."""
BATCHES = 21
"""Timed batches a model: one lies above their 95th percentile."""
_LAYERS = "layers of "  # no model's name holds a space
_SHORTEST = 1e-9  # seconds; a clock that did not move must not divide by zero

Timings = dict[str, dict[str, float]]
"""Model → figure → its value: what `measure_speed` and `measure_loads` return, together."""


def measure_speed(
    scorers: Mapping[str, Scorer],
    histories: Sequence[History],
    config: EvaluateModels,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
    *,
    own_histories: Mapping[str, Sequence[History]] | None = None,
) -> Timings:
    """Time whole top-10 requests: scoring the catalogue and picking the list.

    The models take turns request by request, and the one that goes first changes, so whatever else
    the machine does hits all of them alike. Before each timed request the model answers another one, so
    that caches hold what it needs, as in service. Histories are used in order and over again when there
    are fewer than requests; models in `own_histories` are asked with theirs instead, the same people in
    other item numbers. `clock` returns seconds.

    Returns model → `batch1_p50`, `batch1_p95` in milliseconds over `latency_requests` single-user
    requests; `batch_p50`, `batch_p95` in milliseconds over requests for `batch_users` users, and what
    the former makes of users a second, `users_per_second`. Where a model has layers, the same for them
    alone, without scoring the catalogue: `layers_batch1_p50` and `layers_users_per_second`.
    """
    progress = progress or Silent()
    layered = {
        f"{_LAYERS}{name}": scorer
        for name, scorer in scorers.items()
        if isinstance(scorer, Layered)
    }
    names = [*scorers, *layered]
    asked_of = {name: (own_histories or {}).get(name, histories) for name in names}
    requests = {
        name: list(islice(cycle(mine), config.latency_requests)) for name, mine in asked_of.items()
    }
    batches = {
        name: list(islice(cycle(mine), config.batch_users)) for name, mine in asked_of.items()
    }
    steps = config.latency_requests + BATCHES

    def run(name: str, asked: Sequence[History]) -> None:
        if name in layered:
            layered[name].run_layers(asked)
        else:
            answer(scorers[name], asked, exclude_seen=config.filter_seen)

    def seconds(name: str, asked: Sequence[History], before: Sequence[History]) -> float:
        run(name, before)
        started = clock()
        run(name, asked)
        return clock() - started

    for name in names:
        for history in islice(cycle(asked_of[name]), WARM_UP):
            run(name, [history])
    single: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(config.latency_requests):
        for name in rotated(names, turn):
            mine = requests[name]
            single[name].append(seconds(name, [mine[turn]], [mine[turn - 1]]))
        progress.update(turn + 1, steps, "latency")

    batched: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(BATCHES):
        for name in rotated(names, turn):
            batched[name].append(seconds(name, batches[name], batches[name]))
        progress.update(config.latency_requests + turn + 1, steps, "throughput")

    def figures(name: str) -> dict[str, float]:
        return {
            "batch1_p50": float(1000 * np.quantile(single[name], 0.50)),
            "batch1_p95": float(1000 * np.quantile(single[name], 0.95)),
            "batch_p50": float(1000 * np.quantile(batched[name], 0.50)),
            "batch_p95": float(1000 * np.quantile(batched[name], 0.95)),
            "users_per_second": config.batch_users
            / max(float(np.median(batched[name])), _SHORTEST),
        }

    timings = {name: figures(name) for name in scorers}
    for name in layered:
        found = figures(name)
        timings[name.removeprefix(_LAYERS)] |= {
            f"layers_{key}": found[key] for key in ("batch1_p50", "users_per_second")
        }
    return timings


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The names in their order, another one first each turn."""
    first = turn % max(len(names), 1)
    return [*names[first:], *names[:first]]


def request_histories(sequences: Sequences, config: EvaluateModels) -> list[History]:
    """Pick histories to ask for: those of test users, evenly spaced over the user index."""
    users, positions = sequences.targets("test")
    wanted = min(len(users), max(config.latency_requests, config.batch_users))
    chosen = np.linspace(0, len(users) - 1, wanted).astype(np.int64)
    return histories_before(sequences, users[chosen], positions[chosen])
