"""What no check of a column sees: histories in order, robots, and the log against the last one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slmrec.columns import Interactions
from slmrec.config import ValidateData
from slmrec.data.checks import Check, bound, rule
from slmrec.data.log_file import LogGroup, read_log
from slmrec.data.ordering import starts_of_runs
from slmrec.errors import ConfigError
from slmrec.storage.files import fetch

EXAMPLES = 5
DAY = 86_400
Int64 = NDArray[np.int64]


def check_histories(
    log: Path, card: Mapping[str, Any], settings: ValidateData
) -> tuple[Check, ...]:
    """Read a canonical log once, a row group at a time, and check what lies between its rows.

    `card` is the log's data card. Robots are not looked for where times are positions or whole
    days, since a rate needs a clock.
    """
    scan = _Scan(settings.robot_events, settings.robot_seconds)
    for group in read_log(log):
        scan.add(group)
    rows = scan.rows
    checks = [
        rule(
            "histories",
            "each user's interactions lie together, users in order of id",
            rows=scan.users,
            unexpected=scan.misplaced,
            examples=tuple(scan.misplaced_users),
        ),
        rule(
            "histories",
            "time never runs backwards inside a history",
            rows=rows,
            unexpected=scan.backwards,
            examples=tuple(scan.backwards_users),
        ),
        bound("histories", "users", card["users"], least=2),
        bound("histories", "items", card["items"], least=2),
        bound(
            "histories",
            "different moments (3 means: 3 or more)",
            len(scan.moments),
            least=3,
            notes="with fewer there is no past, validation and test to tell apart",
        ),
        bound(
            "histories",
            "share of interactions at the same moment as another of the user",
            card["equal_time_share"],
            most=settings.max_equal_time_share,
            notes="validate_data.max_equal_time_share; their order is not time's",
        ),
    ]
    if not card["order_only"] and not scan.whole_days:
        checks.append(
            bound(
                "histories",
                f"share of interactions by robots: users with more than {settings.robot_events} "
                f"interactions within {settings.robot_seconds} s",
                scan.robot_rows / max(rows, 1),
                most=settings.max_robot_share,
                notes="validate_data.robot_events, robot_seconds, max_robot_share",
                rows=rows,
                unexpected=scan.robot_rows,
                examples=tuple(scan.robot_users),
            )
        )
    return tuple(checks)


def check_sum(card: Mapping[str, Any]) -> Check:
    """Check that every source row is kept, filtered or in the quarantine."""
    parts = [card[name] for name in ("kept", "filtered", "quarantined")]
    return Check(
        suite="quarantine",
        expectation="source rows = kept + filtered + quarantined",
        column="",
        expected=f"{card['rows_in']:,}",
        success=sum(parts) == card["rows_in"],
        rows=0,
        unexpected=0,
        observed=" + ".join(f"{part:,}" for part in parts) + f" = {sum(parts):,}",
        examples=(),
        notes="nothing is lost on the way",
    )


def check_previous(
    log: Path, card: Mapping[str, Any], previous: Mapping[str, Any], settings: ValidateData
) -> tuple[Check, ...]:
    """Compare a log with the one behind the production model.

    `previous` has `version`, `interactions` (rows of the log then, 0 when nobody recorded them) and
    `items`, where the model's item table lies (Parquet with `item_id`; a path or a `gs://` URI). Empty:
    nothing to compare. Raises `ConfigError` or `SourceMissingError` when the table is not there.
    """
    if not previous:
        return ()
    version = f"version {previous['version']}"
    checks = []
    if previous["interactions"]:
        checks.append(
            bound(
                "previous",
                f"interactions over those behind {version}",
                card["kept"] / previous["interactions"],
                least=settings.min_volume_ratio,
                most=settings.max_volume_ratio,
                notes=f"{card['kept']:,} now, {previous['interactions']:,} then; "
                "validate_data.min_volume_ratio, max_volume_ratio",
            )
        )
    known = _items_behind(str(previous["items"]), version)
    present = _items_of(log)
    gone = known.filter(~known.is_in(present.implode())).sort()
    checks.append(
        bound(
            "previous",
            f"share of the items of {version} that the log still has",
            1 - len(gone) / max(len(known), 1),
            least=settings.min_catalogue_kept,
            notes="validate_data.min_catalogue_kept",
            rows=len(known),
            unexpected=len(gone),
            examples=tuple(gone.head(EXAMPLES).to_list()),
        )
    )
    return tuple(checks)


def _items_behind(table: str, version: str) -> pl.Series:
    with TemporaryDirectory() as folder:
        path = fetch(table, Path(folder))
        if not path.is_file():
            raise ConfigError(
                f"{path}: the item table of production {version} is not there; expected it in the "
                "registry; mend the registry or promote another version"
            )
        return pl.read_parquet(path, columns=[Interactions.ITEM])[Interactions.ITEM].unique()


def _items_of(log: Path) -> pl.Series:
    found = pl.Series([], dtype=pl.String)
    for group in read_log(log):
        found = pl.concat([found, group.items]).unique()
    return found


@dataclass
class _Scan:
    """Counts over row groups; what happens across their borders is carried over."""

    robot_events: int
    robot_seconds: int
    rows: int = 0
    users: int = 0
    misplaced: int = 0
    misplaced_users: list[str] = field(default_factory=list)
    backwards: int = 0
    backwards_users: list[str] = field(default_factory=list)
    robot_rows: int = 0
    robot_users: list[str] = field(default_factory=list)
    whole_days: bool = True
    moments: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    _last_user: str | None = None
    _last_times: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    _last_rows: int = 0
    _last_is_robot: bool = False

    def add(self, group: LogGroup) -> None:
        """Look at one row group."""
        if not len(group.user):
            return
        starts = np.flatnonzero(starts_of_runs(group.user))
        names = group.users.gather(group.user[starts])
        goes_on = self._last_user is not None and names[0] == self._last_user
        self._order(names, goes_on=goes_on)
        self._time(group.seconds, starts, names, goes_on=goes_on)
        self.rows += len(group.user)
        self.users += len(names) - goes_on
        if len(self.moments) < 3:
            self.moments = np.unique(np.concatenate([self.moments, group.seconds]))[:3]
        self.whole_days = self.whole_days and not (group.seconds % DAY).any()

    def _order(self, names: pl.Series, *, goes_on: bool) -> None:
        before = names.shift(1, fill_value=self._last_user)
        wrong = (names <= before).fill_null(value=False)
        if goes_on:
            wrong[0] = False
        self.misplaced += int(wrong.sum())
        _remember(self.misplaced_users, names.filter(wrong))

    def _time(self, seconds: Int64, starts: Int64, names: pl.Series, *, goes_on: bool) -> None:
        # The end of the last user's history is put before the group when the user goes on.
        before = self._last_times if goes_on else np.zeros(0, np.int64)
        times = np.concatenate([before, seconds])
        shift = len(before)
        user = np.repeat(
            np.arange(len(names)), np.diff(np.append(starts + shift * (starts > 0), len(times)))
        )
        same = user[1:] == user[:-1]
        back = same & (times[1:] < times[:-1])
        self.backwards += int(back.sum())
        _remember(self.backwards_users, names.gather(np.unique(user[1:][back])))
        span = self.robot_events
        hurried = (user[span:] == user[:-span]) & (
            times[span:] - times[:-span] < self.robot_seconds
        )
        robots = np.zeros(len(names), np.bool_)
        robots[user[span:][hurried]] = True
        counts = np.diff(np.append(starts, len(seconds)))
        if goes_on and self._last_is_robot:
            robots[0] = True
        elif goes_on and robots[0]:
            self.robot_rows += self._last_rows  # what lay in earlier groups
        self.robot_rows += int(counts[robots].sum())
        _remember(self.robot_users, names.filter(pl.Series(robots)))
        only = goes_on and len(names) == 1
        self._last_rows = int(counts[-1]) + (self._last_rows if only else 0)
        self._last_is_robot = bool(robots[-1])
        self._last_user = names[-1]
        self._last_times = times[user == len(names) - 1][-span:]


def _remember(examples: list[str], names: pl.Series) -> None:
    for name in names.head(EXAMPLES).to_list():
        if len(examples) < EXAMPLES and name not in examples:
            examples.append(name)
