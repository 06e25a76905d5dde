"""Lists for everybody, part by part: what a batch job serves."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

from slmrec.artifacts import canonical_json, digest_text
from slmrec.columns import Recommendations, UserIndex
from slmrec.data.sequences import Sequences
from slmrec.errors import DataError
from slmrec.models.item_map import item_map
from slmrec.models.scorer import History
from slmrec.models.servable import Servable
from slmrec.progress import Progress, Silent

PART_USERS = 50_000
"""People whose lists are made and written together."""
_KEY = "key.json"
_SCHEMA = pa.schema(
    [
        (Recommendations.USER, pa.string()),
        (Recommendations.ITEMS, pa.list_(pa.string())),
        (Recommendations.SCORES, pa.list_(pa.float32())),
        (Recommendations.KNOWN, pa.int32()),
        (Recommendations.VERSION, pa.string()),
        (Recommendations.DIGEST, pa.string()),
    ]
)


@dataclass(frozen=True)
class Request:
    """What lists are asked for."""

    k: int = 10
    exclude_seen: bool = True
    version: str = ""
    """How the output calls the model: its number in the registry."""


@dataclass(frozen=True)
class Outcome:
    """What was made."""

    users: int
    without_history: int
    """People of whom the model knows no item; they are given what was most often touched."""


def recommend_all(
    servable: Servable,
    sequences: Sequences,
    output: Path,
    request: Request,
    *,
    users: Sequence[str] | None = None,
    progress: Progress | None = None,
    part_users: int = PART_USERS,
) -> Outcome:
    """Write the best items of every user, or of those named, to a Parquet file.

    Columns are `Recommendations`, a row a user: those of the sequences in their order, then named ones
    that the sequences do not hold. Histories are whole, test part included; of a log cut into sessions
    a user's last one, as the model learned from sessions. Items that the model does not know are
    passed over. Parts lie beside the output until it is whole: the same call after a stop makes the
    missing ones only, another call starts anew, and two at once wait for each other. Raises
    `DataError` when there is nobody.
    """
    progress = progress or Silent()
    people = _People(servable, sequences, users)
    if not len(people):
        raise DataError(
            f"{output}: nobody to recommend to; name users, or give a log that has some"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(output.with_name(f"{output.name}.lock")):
        return _written(servable, sequences, people, output, request, progress, part_users)


def _written(
    servable: Servable,
    sequences: Sequences,
    people: "_People",
    output: Path,
    request: Request,
    progress: Progress,
    part_users: int,
) -> Outcome:
    folder = output.with_name(f"{output.name}.parts")
    _begin(folder, canonical_json(_key(servable, sequences, people, request, part_users)))
    starts = range(0, len(people), part_users)
    paths = [folder / f"{number:06d}.parquet" for number in range(len(starts))]
    for start, path in zip(starts, paths, strict=True):
        end = min(start + part_users, len(people))
        if not _whole(path, end - start):
            aside = path.with_suffix(".partial")
            pq.write_table(_part(servable, people, range(start, end), request), aside)
            aside.rename(path)
        progress.update(end, len(people), f"part {path.stem}")
    without = _join(paths, output)
    shutil.rmtree(folder)
    return Outcome(len(people), without)


class _People:
    """Who is asked about, and their histories in the model's item indices."""

    def __init__(
        self, servable: Servable, sequences: Sequences, users: Sequence[str] | None
    ) -> None:
        self._sequences = sequences
        self._map = item_map(sequences.item_table, servable.catalogue)
        ids = sequences.user_table[UserIndex.USER].cast(str)
        rows = _newest_histories(ids, sequences)
        if users is None:
            self.ids, self.rows = ids.gather(rows), rows
        else:
            wanted = pl.Series(users, dtype=pl.String).unique(maintain_order=True)
            self.rows = rows[ids.gather(rows).is_in(wanted.implode()).arg_true().to_numpy()]
            absent = wanted.filter(~wanted.is_in(ids.implode()))
            self.ids = pl.concat([ids.gather(self.rows), absent])

    def __len__(self) -> int:
        return len(self.ids)

    def history(self, place: int) -> History:
        """The items of a person that the model knows, oldest first."""
        if place >= len(self.rows):
            return np.zeros(0, dtype=np.int32)
        row = self.rows[place]
        start, end = self._sequences.offsets[row], self._sequences.offsets[row + 1]
        known: History = self._map[np.asarray(self._sequences.items[start:end])]
        return known[known > 0]


def _newest_histories(ids: pl.Series, sequences: Sequences) -> NDArray[np.int64]:
    """The row of each person, of several sessions that of the last one to end, in the rows' order."""
    ends = np.asarray(sequences.timestamps)[np.asarray(sequences.offsets)[1:] - 1]
    sessions = pl.DataFrame({"id": ids, "row": np.arange(len(ids)), "end": ends})
    newest = sessions.sort("end", "row").group_by("id").last()
    return newest["row"].sort().to_numpy()


def _key(
    servable: Servable,
    sequences: Sequences,
    people: _People,
    request: Request,
    part_users: int,
) -> dict[str, object]:
    assert sequences.artifact is not None
    return {
        "model": servable.artifact.digest,
        "sequences": sequences.artifact.digest,
        "users": digest_text("\n".join(people.ids.to_list())),
        "part_users": part_users,
        **asdict(request),
    }


def _whole(path: Path, rows: int) -> bool:
    """Whether a part is there and can be read."""
    try:
        return bool(pq.read_metadata(path).num_rows == rows)
    except (OSError, pa.ArrowInvalid):
        return False


def _begin(folder: Path, key: str) -> None:
    """Go on with parts of the same call; throw away those of another."""
    marker = folder / _KEY
    if marker.exists() and marker.read_text(encoding="utf-8") == key:
        return
    if folder.exists() and not marker.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: holds other files than parts of lists; move it away")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.write_text(key, encoding="utf-8")


def _part(servable: Servable, people: _People, places: range, request: Request) -> pa.Table:
    histories = [people.history(place) for place in places]
    items, scores = servable.best(histories, request.k, exclude_seen=request.exclude_seen)
    known = np.asarray([len(history) for history in histories], dtype=np.int32)
    items[known == 0], scores[known == 0] = servable.most_popular(request.k)
    listed = items > 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int32))
    names = pa.array(servable.item_ids).take(pa.array(items[listed]))
    columns = [
        pa.array(people.ids[places.start : places.stop].to_list(), pa.string()),
        pa.ListArray.from_arrays(offsets, names),
        pa.ListArray.from_arrays(offsets, pa.array(scores[listed])),
        pa.array(known),
        pa.array([request.version] * len(places), pa.string()),
        pa.array([servable.artifact.digest] * len(places), pa.string()),
    ]
    return pa.table(columns, schema=_SCHEMA)


def _join(paths: Sequence[Path], output: Path) -> int:
    """Write all parts to one file, whole or not at all; how many people had no known item."""
    aside = output.with_name(f"{output.name}.partial")
    without = 0
    with pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as writer:
        for path in paths:
            table = pq.read_table(path, schema=_SCHEMA)
            without += int(np.count_nonzero(table[Recommendations.KNOWN].to_numpy() == 0))
            writer.write_table(table)
    aside.rename(output)
    return without
