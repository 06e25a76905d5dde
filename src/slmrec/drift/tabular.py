"""The tabular part of the drift report, by Evidently.

Only numbers that are computed here go in, never ids or titles: Evidently prints category values
into its pages unescaped. Importing this module takes seconds. Evidently looks at `DO_NOT_TRACK`
when it is imported, so the caller sets that first.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from slmrec.drift.windows import Timeline, Window
from slmrec.large_imports import nothing_collected

PROJECT = "slmrec"
"""What the workspace calls the reports of all runs."""
FEATURES = ("place in the window", "log gap", "popularity rank", "hour", "weekday")
# Widget ids are drawn anew each time: version 7 UUIDs, and a random name for the page's variable.
_RANDOM_ID = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b|(?<=metric_)[0-9a-f]{32}\b"
)


def write_evidently(
    log: Timeline,
    reference: Window,
    current: Window,
    rows: int,
    seed: int,
    directory: Path,
    workspace: Path | None = None,
) -> None:
    """Write `evidently.json` and `evidently.html`: how each feature's distribution differs.

    At most `rows` interactions of each window, drawn by lot. The same windows give the same bytes.
    `workspace`: a folder that `evidently ui --workspace` shows, to which the report is added.
    """
    rng = np.random.default_rng(seed)
    # Ranks come from before both windows, so that neither has chosen its own favourites.
    past = log.items[: reference.start]
    counts = np.bincount(past, minlength=int(log.items.max()) + 1)
    ranks = np.empty(len(counts), dtype=np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    definition = DataDefinition(numerical_columns=list(FEATURES))
    sides = [
        Dataset.from_pandas(_features(window, ranks, rows, rng), data_definition=definition)
        for window in (current, reference)
    ]
    snapshot = Report([DataDriftPreset()]).run(sides[0], sides[1])
    (directory / "evidently.json").write_text(snapshot.json() + "\n", encoding="utf-8")
    page = directory / "evidently.html"
    snapshot.save_html(str(page))
    page.write_text(_number_ids(page.read_text(encoding="utf-8")), encoding="utf-8")
    if workspace is not None:
        with nothing_collected():
            from evidently.ui.workspace import Workspace  # takes seconds more

        place = Workspace.create(str(workspace))
        found = place.search_project(PROJECT)
        project = found[0] if found else place.create_project(PROJECT)
        place.add_run(project.id, snapshot, name=f"window of {len(current.items):,} interactions")


def _features(
    window: Window, ranks: np.ndarray, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    order = np.argsort(window.users, kind="stable")
    users, items, times = window.users[order], window.items[order], window.timestamps[order]
    first = np.concatenate(([True], users[1:] != users[:-1]))
    starts = np.flatnonzero(first)
    place = np.arange(len(users)) - np.repeat(starts, np.diff([*starts, len(users)]))
    # A user's first interaction in the window has no gap; the window's own start stands in.
    before = np.concatenate(([0], times[:-1]))
    gap = np.where(first, times - window.timestamps[0], times - before)
    columns = (
        place + 1,
        np.log1p(gap),
        ranks[items],
        times // 3600 % 24,
        (times // 86_400 + 3) % 7,  # 1970-01-01 was a Thursday; Monday is 0
    )
    table = pd.DataFrame(
        {name: column.astype(np.float64) for name, column in zip(FEATURES, columns, strict=True)}
    )
    if len(table) <= rows:
        return table
    return table.iloc[np.sort(rng.choice(len(table), rows, replace=False))].reset_index(drop=True)


def _number_ids(page: str) -> str:
    """Number the random ids in the order in which they first appear."""
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return numbers.setdefault(match.group(), f"{len(numbers) + 1:032x}")

    return _RANDOM_ID.sub(number, page)
