"""Summaries where CI reads them: `PREFIX/RUN.json`, and the newest as `PREFIX/summary.json`."""

import json
from datetime import datetime
from typing import Any

from slmrec.errors import RegistryConflict
from slmrec.storage.documents import ABSENT, Documents

NEWEST = "summary.json"
_ATTEMPTS = 5


def publish_summaries(documents: Documents, summaries: dict[str, dict[str, Any]]) -> list[str]:
    """Write the summaries that are not there yet; which runs' those were.

    The newest never goes back, whoever publishes when. Raises `SourceMissingError` where nobody may
    write.
    """
    there = documents.read_all(f"{run}.json" for run in summaries)
    new = sorted(run for run in summaries if f"{run}.json" not in there)
    for run in new:
        documents.replace(f"{run}.json", _content(summaries[run]), ABSENT)
    if summaries:  # new or not: whoever published it may have been ended before this
        _move_on(documents, _content(max(summaries.values(), key=_started)))
    return new


def _move_on(documents: Documents, content: bytes) -> None:
    for _ in range(_ATTEMPTS):
        newest = documents.read(NEWEST)
        if newest is not None and _started(json.loads(newest.content)) >= _started(
            json.loads(content)
        ):
            return
        expected = ABSENT if newest is None else newest.generation
        if documents.replace(NEWEST, content, expected):
            return
    raise RegistryConflict(
        f"{documents.uri(NEWEST)}: others write it all the time; publish from one place only"
    )


def _content(summary: dict[str, Any]) -> bytes:
    # Where the artifacts are on this machine is nobody else's business.
    places = {"service": summary["places"].get("service", "")}
    told = json.dumps({**summary, "places": places}, sort_keys=True, indent=1, ensure_ascii=False)
    return f"{told}\n".encode()


def _started(summary: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(summary["started"])
