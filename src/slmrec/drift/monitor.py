"""The drift verdict: the newest window against the past, and the same for earlier windows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slmrec.config import MonitorDrift
from slmrec.data.sequences import Sequences
from slmrec.drift.difference import Difference, benjamini_hochberg
from slmrec.drift.examples import Names, example_lists, moved_items, quality_segments
from slmrec.drift.handed_out import HandedOut, compare_handed_out
from slmrec.drift.log_statistics import compare_logs
from slmrec.drift.sentences import sentence
from slmrec.drift.serving import People, Serving, look
from slmrec.drift.serving_statistics import compare_people
from slmrec.drift.thresholds import ASKED, FAMILIES, NAMES, DriftThresholds, StatisticName
from slmrec.drift.verdicts import DRIFT, NOT_ENOUGH_DATA, STABLE, WATCH
from slmrec.drift.windows import Timeline, Window, same_weekdays, timeline, window_until
from slmrec.errors import ConfigError
from slmrec.progress import Progress


@dataclass(frozen=True)
class Comparison:
    """A window against its reference."""

    current: Window
    reference: Window
    differences: tuple[Difference, ...]
    alarmed: tuple[bool, ...]
    """One a difference: significant, and at least as large as its threshold."""
    people: tuple[People, People] | None = None
    """Of reference and current window, where production could be asked about both."""

    @property
    def alarms(self) -> frozenset[str]:
        """Names of the statistics that alarm."""
        pairs = zip(self.differences, self.alarmed, strict=True)
        return frozenset(difference.name for difference, alarm in pairs if alarm)

    def find(self, name: str) -> tuple[Difference, bool] | None:
        """A statistic by name, and whether it alarms; None where it was not computed."""
        for difference, alarm in zip(self.differences, self.alarmed, strict=True):
            if difference.name == name:
                return difference, alarm
        return None


@dataclass(frozen=True)
class DriftReport:
    """What was found; `comparisons` are newest first and empty when data do not suffice."""

    verdict: str
    reason: str
    log: Timeline
    comparisons: tuple[Comparison, ...]
    thresholds: DriftThresholds
    serving: Serving | None = None
    handed_out: Mapping[str, Any] | None = None
    """What `compare_handed_out` says of lists that people were given."""


@dataclass(frozen=True)
class _Pair:
    current: Window
    reference: Window
    adds_up: bool
    """Whether items are new against the reference rather than the window before."""


@dataclass(frozen=True)
class Watched:
    """A log and what is known of it and of production.

    - `categories` int64 [items + 1]: each item's category by number; None where items have none
    - `novelty` float64 [items + 1]: −log2 of the share of production's training interactions
    """

    log: Timeline
    categories: NDArray[np.int64] | None
    serving: Serving | None
    novelty: NDArray[np.float64] | None

    def statistics(self) -> tuple[StatisticName, ...]:
        """Names of what can be compared."""
        left_out: set[StatisticName] = set()
        if self.categories is None:
            left_out.add("category_mix")
        if self.serving is None:
            left_out |= {name for name in NAMES if FAMILIES[name] in ASKED} | {"truncated_share"}
        elif self.serving.previous is None:
            left_out |= {"previous_overlap", "previous_rank_overlap"}
        return tuple(name for name in NAMES if name not in left_out)


def monitor(
    sequences: Sequences,
    config: MonitorDrift,
    thresholds: DriftThresholds,
    production_last: int | None,
    progress: Progress,
    *,
    order_only: bool = False,
    serving: Serving | None = None,
    categories: NDArray[np.int64] | None = None,
    handed_out: HandedOut | None = None,
) -> DriftReport:
    """Compare the newest window of the log with the past.

    `production_last` is the newest timestamp of the production model's log, None without one. A window
    that lies wholly after it is compared with the newest window of that log, so that slow drift since
    the training adds up; every other window with the one before it, or, where it is shorter than two
    weeks, with an equally large one that ends whole weeks before it. The newest is compared with what
    the one before it is compared with. All windows hold `window_share` of the interactions.

    `serving` is asked about people of every window: states, lists, and, in windows that it did not
    learn from, what they did next. `categories` int64 [items + 1] numbers each item's category.
    `handed_out` are lists that people were given, of which the report tells what is left.

    `drift` needs one statistic to alarm in the newest window and in the one before, `watch` is an
    alarm in the newest alone. A model that was trained on part of the newest window has learned
    that part, so the verdict is then at most `watch`: training again would change nothing.

    Where the log has an `order_only`, and so positions for times, there are no windows to compare.

    Raises `ConfigError` when so few permutations could not raise any alarm.
    """
    log = timeline(sequences, config.seed)
    if order_only:
        reason = "the log has an order and no times, so there are no windows to compare"
        return DriftReport(NOT_ENOUGH_DATA, reason, log, (), thresholds)
    novelty = None if serving is None else _novelty(serving)
    watched = Watched(log, categories, serving, novelty)
    _check_resolution(config, watched)
    size = round(config.window_share * sequences.interactions)
    seen = None if production_last is None else log.before(production_last)
    windows = _windows(log, size, config.history_windows + 2)
    comparisons: list[Comparison] = []
    asked: dict[tuple[int, int], People] = {}
    for index in range(len(windows)):
        pair = _pair(log, windows, index, seen, size)
        if pair is None or index > config.history_windows:
            break
        if min(pair.current.user_count, pair.reference.user_count) < config.min_users:
            break
        comparisons.append(_compare(watched, pair, index, config, thresholds, asked))
        progress.update(index + 1, config.history_windows + 1, f"window {index + 1}")
    verdict, reason = _verdict(comparisons, windows, seen, config)
    told = None
    if handed_out is not None and serving is not None and comparisons and comparisons[0].people:
        newest = comparisons[0].people[1]
        told = compare_handed_out(handed_out, newest, serving.model, sequences.history)
    return DriftReport(verdict, reason, log, tuple(comparisons), thresholds, serving, told)


def summarise(report: DriftReport, names: Names) -> dict[str, Any]:
    """The content of `drift.json`: plain numbers and texts.

    Alarms come by the traffic they touch: first what people do otherwise, then what that does to what
    production makes of them.
    """
    comparisons = [_summarise(comparison, report.thresholds) for comparison in report.comparisons]
    newest: Mapping[str, Any] = comparisons[0] if comparisons else {"statistics": []}
    alarms = [
        {key: value for key, value in statistic.items() if key != "alarm"}
        for statistic in newest["statistics"]
        if statistic["alarm"]
    ]
    return {
        "verdict": report.verdict,
        "reason": report.reason,
        "alarms": sorted(
            alarms, key=lambda alarm: (alarm["family"] in ASKED, -alarm["touched_share"])
        ),
        "statistics": newest["statistics"],
        "windows": {key: newest[key] for key in ("current", "reference") if key in newest},
        "production": None if report.serving is None else report.serving.version,
        "previous": None if report.serving is None else report.serving.previous_version,
        **_details(report, names),
        "history": comparisons[::-1],
    }


def _check_resolution(config: MonitorDrift, watched: Watched) -> None:
    smallest = 1 / (config.permutations + 1)
    count = len(watched.statistics())
    needed = config.false_discovery_rate / count
    if smallest > needed:
        raise ConfigError(
            f"monitor_drift.permutations: found {config.permutations}, whose smallest p-value "
            f"{smallest:.2g} cannot pass false_discovery_rate {config.false_discovery_rate:g} over "
            f"{count} statistics where one alone changes; set at least {int(np.ceil(1 / needed)) - 1}"
        )


def _windows(log: Timeline, size: int, count: int) -> list[Window]:
    """Up to `count` windows, newest first, each ending where the newer one starts."""
    windows: list[Window] = []
    end = len(log.items)
    while len(windows) < count and (window := window_until(log, end, size)) is not None:
        windows.append(window)
        end = window.start
    return windows


def _pair(
    log: Timeline, windows: list[Window], index: int, seen: int | None, size: int
) -> _Pair | None:
    """A window and what it is compared with; None where the log does not reach back that far.

    Items are new to a window if its reference did not have them, where that is what production saw:
    so they add up until production knows them.
    """
    current = windows[index]
    # The verdict takes two windows in a row, so both stand against the same: against the one before,
    # an odd window would differ on both of its sides, and a change that lasts on one only.
    place = 1 if index == 0 and len(windows) > 2 else index
    if seen is not None and seen <= current.start:
        known = window_until(log, seen, size)
        if known is not None:
            return _Pair(replace(current, known_items=known.touched_items()), known, True)
    if place + 1 == len(windows):
        return None
    end = same_weekdays(log, windows[place])
    matched = None if end is None else window_until(log, end, size)
    return _Pair(current, matched or windows[place + 1], False)


def _compare(
    watched: Watched,
    pair: _Pair,
    index: int,
    config: MonitorDrift,
    thresholds: DriftThresholds,
    asked: dict[tuple[int, int], People],
) -> Comparison:
    rng = np.random.default_rng((config.seed, index))
    serving, current, reference = watched.serving, pair.current, pair.reference
    found = compare_logs(
        reference,
        current,
        permutations=config.permutations,
        max_users=config.max_users,
        rng=rng,
        categories=watched.categories,
        max_length=None if serving is None else serving.model.servable.max_length,
        adds_up=pair.adds_up,
    )
    people = None
    if serving is not None:
        for window in (reference, current):
            key = window.start, window.end
            if key not in asked:
                by_lot = np.random.default_rng((config.seed, *key))
                asked[key] = look(window, serving, config.asked_users, by_lot)
        old, new = (asked[window.start, window.end] for window in (reference, current))
        if min(len(old.users), len(new.users)) >= config.min_users:
            people = old, new
            assert watched.novelty is not None
            found += compare_people(
                old,
                new,
                novelty=watched.novelty,
                permutations=config.permutations,
                rng=rng,
            )
    found.sort(key=lambda difference: NAMES.index(difference.name))
    alarmed = which_alarm(found, config.false_discovery_rate, thresholds)
    return Comparison(current, reference, tuple(found), alarmed, people)


def which_alarm(
    differences: Sequence[Difference], rate: float, thresholds: DriftThresholds
) -> tuple[bool, ...]:
    """Which differences are significant at a false discovery rate and large enough to matter."""
    significant = benjamini_hochberg([one.p for one in differences], rate)
    return tuple(
        hit and one.effect >= thresholds.of(one.name)
        for hit, one in zip(significant, differences, strict=True)
    )


def _novelty(serving: Serving) -> NDArray[np.float64]:
    """Bits, by the log's item numbers; an item that production did not know counts as met once."""
    counts = serving.model.counts()
    bits: NDArray[np.float64] = -np.log2(np.maximum(counts, 1) / max(counts.sum(), 1))
    return bits


def _details(report: DriftReport, names: Names) -> dict[str, Any]:
    """What moved, by item, by person and by group, in the newest window."""
    if not report.comparisons:
        return {"moved_items": [], "example_lists": [], "segments": [], "handed_out": None}
    newest = report.comparisons[0]
    lists = newest.people
    return {
        "moved_items": moved_items(newest.reference, newest.current, names),
        "example_lists": [] if lists is None else example_lists(*lists, names),
        "segments": [] if lists is None else quality_segments(*lists),
        "handed_out": report.handed_out,
    }


def _verdict(
    comparisons: list[Comparison], windows: list[Window], seen: int | None, config: MonitorDrift
) -> tuple[str, str]:
    if not comparisons:
        users = windows[0].user_count if windows else 0
        return NOT_ENOUGH_DATA, (
            f"the newest window has {users:,} users; needed are {config.min_users:,} there and in "
            "its reference, and a log at least three windows long"
        )
    newest = comparisons[0].alarms
    if not newest:
        return STABLE, "no statistic differs both significantly and by enough to matter"
    lasting = newest & comparisons[1].alarms if len(comparisons) > 1 else frozenset()
    if not lasting:
        return WATCH, "the newest window differs; the window before it did not in the same way"
    if seen is not None and seen > comparisons[0].current.start:
        return WATCH, "the production model was trained on part of the newest window"
    names = ", ".join(name.replace("_", " ") for name in NAMES if name in lasting)
    return DRIFT, f"alarmed in the newest window and the one before: {names}"


def _summarise(comparison: Comparison, thresholds: DriftThresholds) -> dict[str, Any]:
    statistics = [
        {
            **asdict(difference),
            "threshold": thresholds.of(difference.name),
            "alarm": alarm,
            "sentence": sentence(difference),
        }
        for difference, alarm in zip(comparison.differences, comparison.alarmed, strict=True)
    ]
    return {
        "current": _describe(comparison.current),
        "reference": _describe(comparison.reference),
        "statistics": statistics,
    }


def _describe(window: Window) -> dict[str, int]:
    return {
        "first": int(window.timestamps[0]),
        "last": int(window.timestamps[-1]),
        "interactions": len(window.items),
        "users": window.user_count,
    }
