"""The drift verdict: the newest window against the past, and the same for earlier windows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from slmrec.config import MonitorDrift
from slmrec.data.sequences import Sequences
from slmrec.drift.sentences import sentence
from slmrec.drift.statistics import Difference, benjamini_hochberg, compare
from slmrec.drift.thresholds import NAMES, DriftThresholds
from slmrec.drift.windows import Timeline, Window, timeline, window_until
from slmrec.errors import ConfigError
from slmrec.progress import Progress

STABLE, WATCH, DRIFT, NOT_ENOUGH_DATA = "stable", "watch", "drift", "not enough data"


@dataclass(frozen=True)
class Comparison:
    """A window against its reference."""

    current: Window
    reference: Window
    differences: tuple[Difference, ...]
    alarmed: tuple[bool, ...]
    """One a difference: significant, and at least as large as its threshold."""

    @property
    def alarms(self) -> frozenset[str]:
        """Names of the statistics that alarm."""
        pairs = zip(self.differences, self.alarmed, strict=True)
        return frozenset(difference.name for difference, alarm in pairs if alarm)


@dataclass(frozen=True)
class DriftReport:
    """What was found; `comparisons` are newest first and empty when data do not suffice."""

    verdict: str
    reason: str
    log: Timeline
    comparisons: tuple[Comparison, ...]
    thresholds: DriftThresholds


def monitor(
    sequences: Sequences,
    config: MonitorDrift,
    thresholds: DriftThresholds,
    production_last: int | None,
    progress: Progress,
    *,
    order_only: bool = False,
) -> DriftReport:
    """Compare the newest window of the log with the past.

    `production_last` is the newest timestamp the production model was trained on, None without one.
    A window that lies wholly after it is compared with the newest window the model saw, so that
    slow drift since the training adds up; every other window with the one before it. All windows
    hold `window_share` of the interactions.

    `drift` needs one statistic to alarm in the newest window and in the one before, `watch` is an
    alarm in the newest alone. A model that was trained on part of the newest window has learned
    that part, so the verdict is then at most `watch`: training again would change nothing.

    Where the log has an `order_only`, and so positions for times, there are no windows to compare.

    Raises `ConfigError` when so few permutations could not raise any alarm.
    """
    _check_resolution(config)
    log = timeline(sequences, config.seed)
    if order_only:
        reason = "the log has an order and no times, so there are no windows to compare"
        return DriftReport(NOT_ENOUGH_DATA, reason, log, (), thresholds)
    size = round(config.window_share * sequences.interactions)
    seen = None if production_last is None else log.before(production_last)
    windows = _windows(log, size, config.history_windows + 2)
    comparisons: list[Comparison] = []
    for index, current in enumerate(windows):
        reference = _reference(log, windows, index, seen, size)
        if reference is None or index > config.history_windows:
            break
        if min(current.user_count, reference.user_count) < config.min_users:
            break
        comparisons.append(_compare(current, reference, index, config, thresholds))
        progress.update(index + 1, config.history_windows + 1)
    verdict, reason = _verdict(comparisons, windows, seen, config)
    return DriftReport(verdict, reason, log, tuple(comparisons), thresholds)


def summarise(report: DriftReport) -> dict[str, Any]:
    """The content of `drift.json`: plain numbers and texts, alarms by the traffic they touch."""
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
        "alarms": sorted(alarms, key=lambda alarm: -alarm["touched_share"]),
        "statistics": newest["statistics"],
        "windows": {key: newest[key] for key in ("current", "reference") if key in newest},
        "history": comparisons[::-1],
    }


def _check_resolution(config: MonitorDrift) -> None:
    smallest = 1 / (config.permutations + 1)
    needed = config.false_discovery_rate / len(NAMES)
    if smallest > needed:
        raise ConfigError(
            f"monitor_drift.permutations: found {config.permutations}, whose smallest p-value "
            f"{smallest:.2g} can never pass false_discovery_rate {config.false_discovery_rate:g} "
            f"over {len(NAMES)} statistics; set at least {int(np.ceil(1 / needed)) - 1}"
        )


def _windows(log: Timeline, size: int, count: int) -> list[Window]:
    """Up to `count` windows, newest first, each ending where the newer one starts."""
    windows: list[Window] = []
    end = len(log.items)
    while len(windows) < count and (window := window_until(log, end, size)) is not None:
        windows.append(window)
        end = window.start
    return windows


def _reference(
    log: Timeline, windows: list[Window], index: int, seen: int | None, size: int
) -> Window | None:
    if seen is not None and seen <= windows[index].start:
        known = window_until(log, seen, size)
        if known is not None:
            return known
    return windows[index + 1] if index + 1 < len(windows) else None


def _compare(
    current: Window,
    reference: Window,
    index: int,
    config: MonitorDrift,
    thresholds: DriftThresholds,
) -> Comparison:
    differences = compare(
        reference,
        current,
        permutations=config.permutations,
        max_users=config.max_users,
        rng=np.random.default_rng((config.seed, index)),
    )
    significant = benjamini_hochberg([d.p for d in differences], config.false_discovery_rate)
    alarmed = tuple(
        hit and difference.effect >= thresholds.of(difference.name)
        for hit, difference in zip(significant, differences, strict=True)
    )
    return Comparison(current, reference, tuple(differences), alarmed)


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
