"""Load sequences and the production version's facts, monitor, write the report."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.runtime import EVIDENTLY_VARIABLE, ROOT, named_model, open_registry, step
from slmrec.artifacts import open_artifact, publish
from slmrec.columns import ItemIndex
from slmrec.config import MonitorDrift
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.drift.examples import Names
from slmrec.drift.handed_out import HandedOut, read_handed_out
from slmrec.drift.handed_out_source import handed_out_digest
from slmrec.drift.monitor import monitor
from slmrec.drift.report import KIND, write_report
from slmrec.drift.serving import Serving
from slmrec.drift.thresholds import DriftThresholds
from slmrec.errors import ArtifactError, DataError
from slmrec.large_imports import nothing_collected
from slmrec.models.item_map import TranslatedServable
from slmrec.models.servable import Servable
from slmrec.policy import load_policy
from slmrec.progress import Progress
from slmrec.registry.store import Registry
from slmrec.registry.versions import Version
from slmrec.storage.files import fetch

POLICY = ROOT / "validation" / "drift.yaml"


@step("monitor_drift", outputs=("report",))
def run(
    progress: Progress, sequences: str, registry: str, serving: str, config: str, report: str
) -> dict[str, Any]:
    """Write the artifact `report`.

    `serving` is what `snapshot_source` says of the versions to ask: that one and no later one, since
    what is kept of this step is found by it. Empty: there is none, and the registry is not read.
    """
    settings = MonitorDrift.from_json(config)
    thresholds = load_policy(POLICY, DriftThresholds)
    data = load_sequences(sequences)
    assert data.artifact is not None
    production = asked = handed_out = None
    unopened = False
    if serving:
        named = json.loads(serving)
        store = open_registry(registry)
        production = store.version(named["version"])
        asked = _serving(store, production, named, data, progress)
        handed_out = _handed_out(settings.recommendations, named["recommendations"], data)
        unopened = asked is None or (asked.previous is None and named["previous"] is not None)
    found = monitor(
        data,
        settings,
        thresholds,
        production.data.last if production else None,
        progress,
        order_only=data.order_only,
        serving=asked,
        categories=_categories(data),
        handed_out=handed_out,
    )
    properties: dict[str, Any] = {"verdict": found.verdict}
    inputs = {"sequences": data.artifact}
    with publish(
        Path(report), KIND, config=config, inputs=inputs, properties=properties
    ) as directory:
        content = write_report(found, directory, Names.of(data))
        if found.comparisons:
            os.environ["DO_NOT_TRACK"] = "1"  # read when evidently is imported
            with nothing_collected():
                from slmrec.drift.tabular import write_evidently

            newest = found.comparisons[0]
            workspace = os.environ.get(EVIDENTLY_VARIABLE)
            write_evidently(
                found.log,
                newest.reference,
                newest.current,
                settings.evidently_rows,
                settings.seed,
                directory,
                Path(workspace) if workspace else None,
            )
    alarms = content["alarms"]
    cause = f" · {alarms[0]['sentence']}" if alarms else ""
    return {
        "digest": open_artifact(report, KIND).digest,
        "headline": f"{found.verdict}{cause}",
        "verdict": found.verdict,
        "reason": found.reason,
        "alarms": len(alarms),
        "windows": len(found.comparisons),
        # What could not be opened may be mended by the next run: then it is to be asked.
        "reusable": False if unopened else None,
    }


def _serving(
    store: Registry,
    production: Version,
    named: Mapping[str, Any],
    data: Sequences,
    progress: Progress,
) -> Serving | None:
    """What serves and what served before it, asked in this log's numbers; none where it cannot be."""
    model = _opened(store, production.number, named["models"][0], data, progress)
    if model is None:
        return None
    earlier = named["previous"]
    previous = (
        None if earlier is None else _opened(store, earlier, named["models"][1], data, progress)
    )
    facts = production.data
    return Serving(
        model,
        production.number,
        facts.trained_until or facts.last,
        previous,
        None if previous is None else earlier,
    )


def _opened(
    store: Registry, number: int, digest: str, data: Sequences, progress: Progress
) -> TranslatedServable | None:
    try:
        servable = Servable(named_model(store, number, digest, progress))
    except ArtifactError as error:
        progress.say(f"version {number} cannot be asked what it would list: {error}")
        return None
    return TranslatedServable(servable, data.item_table, f"version {number}")


def _handed_out(place: str, digest: str, data: Sequences) -> HandedOut | None:
    if not place:
        return None
    if (found := handed_out_digest(place)) != digest:
        raise DataError(
            f"monitor_drift.recommendations: {place} changed since the run began (digest {found[:12]}, "
            f"snapshot_source found {digest[:12]}); start the run again"
        )
    with TemporaryDirectory() as folder:
        return read_handed_out(fetch(place, Path(folder)), data)


def _categories(data: Sequences) -> NDArray[np.int64] | None:
    """Each item's category by number, by item index; none where no item has one."""
    names = data.item_table.sort(ItemIndex.INDEX)[ItemIndex.CATEGORY].cast(str).fill_null("")
    if not (names != "").any():
        return None
    _, numbers = np.unique(names.to_numpy(), return_inverse=True)
    return np.concatenate([[0], numbers]).astype(np.int64)
