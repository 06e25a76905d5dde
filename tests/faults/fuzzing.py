"""Readers of what strangers write, each with the inputs that a fuzzer tries on it.

An input is right when the reader takes it or answers with an error of its own; anything else, such as a
`KeyError` from within or a message of megabytes, is a finding.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from pipeline.submission.cron import kubeflow_cron, vertex_cron
from slmrec.artifacts import MANIFEST, open_artifact, publish, write_json
from slmrec.config import IngestInteractions, PipelineConfig, TrainTeacher
from slmrec.config_file import change_config, load_config
from slmrec.dashboard.deciding import ACTIONS, read_form
from slmrec.dashboard.files import parse_manifest
from slmrec.dashboard.pages.runs import parse_graph
from slmrec.dashboard.problems import ProblemError
from slmrec.data.ingest import ingest
from slmrec.errors import SlmrecError
from slmrec.progress import Silent
from slmrec.registry.channels import Channels, parse_channels
from slmrec.registry.decisions import parse_decision

LONGEST_MESSAGE = 20_000
_LOG = b"user,item,timestamp,rating\nu1,i1,100,4\nu2,i1,200,\nu1,i2,300,5\n"
_JSON = (
    b'{"user": "u1", "item": "i1", "timestamp": 100}\n{"user": 2, "item": "i2", "timestamp": 7}\n'
)
_NAMES = ("log.csv", "log.tsv", "log.jsonl", "u.data", "log.dat", "log.inter", "log.txt", "u.item")
_WORDS = (
    *(b"\0", b"\xff", b'"', b"\n", b"\r\n", b",", b"::", b"\t", b"|", b"1e400", b"-1", b"nan"),
    *(b"{", b"}", b"[", b"]", b"null", b"\xef\xbb\xbf", b"9" * 40, b"&a", b"*a", b"<<: ", b"!!"),
    *(b"\xff\xff\xff\x7f", b"\x80", b"\\ud800", b"1970-01-01T00:00:00Z", b"~", b": "),
)
"""What readers have stumbled over."""
_GRAPH = b"""components: {a: {dag: {tasks: {b: {componentRef: {name: a}}}}}}
root: {dag: {tasks: {c: {componentRef: {name: a}, dependentTasks: [d]}}}}
"""
_YAML = b"train_teacher: {layers: 4, training: &a {epochs: 3}}\ndistill_student: {training: *a}\n"


@dataclass(frozen=True)
class Fuzzed:
    """A reader and what is tried on it."""

    read: Callable[[Any], object]
    inputs: st.SearchStrategy[Any]
    answers: tuple[type[Exception], ...] = (SlmrecError,)
    """What it may raise."""

    def try_one(self, given: Any) -> None:
        """Read one input; raises whatever is a finding."""
        try:
            self.read(given)
        except self.answers as error:
            if len(str(error)) > LONGEST_MESSAGE:
                raise AssertionError("a message that nobody can read") from error


def mutated(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Sound bytes with parts cut, repeated, overwritten, swapped or put in."""
    words = st.binary(max_size=12) | st.sampled_from(_WORDS)
    change = st.tuples(st.floats(0, 1), st.floats(0, 0.3), words, st.integers(0, 3))

    def apply(seed: bytes, changes: list[tuple[float, float, bytes, int]]) -> bytes:
        for where, share, word, kind in changes:
            start = int(where * len(seed))
            end = min(len(seed), start + int(share * len(seed)) + 1)
            part = seed[start:end]
            middle = (word, part + word + part, part[::-1], word + seed[end:][: len(part)])[kind]
            rest = seed[start:] if kind == 3 else seed[end:]
            seed = seed[:start] + middle + rest
        return seed

    return st.builds(apply, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=6))


def _values() -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=8,
    )


def _replaced(sound: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A sound object, some of whose fields hold or lack anything."""
    fields = st.dictionaries(st.sampled_from([*sound, "surplus"]), _values(), max_size=3)
    gone = st.sets(st.sampled_from([*sound]), max_size=2)

    def change(new: dict[str, Any], without: set[str]) -> dict[str, Any]:
        return {name: value for name, value in (sound | new).items() if name not in without}

    return st.builds(change, fields, gone) | _values()


def _ingested(given: tuple[str, bytes, str]) -> None:
    name, content, format_ = given
    settings = IngestInteractions.model_validate({"format": format_})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        (Path(folder) / "out").mkdir()
        ingest(str(path), "", settings, Path(folder) / "out", Silent())


def _items(given: tuple[str, bytes]) -> None:
    name, content = given
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        (Path(folder) / "out").mkdir()
        sound = Path(folder) / "sound.csv"
        sound.write_bytes(_LOG)
        ingest(str(sound), str(path), IngestInteractions(), Path(folder) / "out", Silent())


def _parquet() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        ids = [f"u{n % 7}" for n in range(50)]
        pl.DataFrame({"user": ids, "item": ids[::-1], "timestamp": [*range(50)]}).write_parquet(
            path
        )
        return path.read_bytes()


def _opened(given: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "artifact"
        with publish(place, "sound") as staging:
            write_json(staging / "content.json", {})
        content = given if isinstance(given, bytes) else json.dumps(given).encode()
        (place / MANIFEST).write_bytes(content)
        open_artifact(place)


def _manifest() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        with publish(Path(folder) / "artifact", "sound") as staging:
            write_json(staging / "content.json", {})
        found: dict[str, Any] = json.loads((Path(folder) / "artifact" / MANIFEST).read_text())
        return found


def _configured(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "settings.yaml"
        path.write_bytes(content)
        load_config(path)


def _cron(given: tuple[str, str]) -> None:
    for parse in (kubeflow_cron, vertex_cron):
        with contextlib.suppress(SlmrecError):
            parse(*given).following(datetime(2026, 1, 1, tzinfo=UTC))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def fuzzers() -> dict[str, Fuzzed]:
    """Every reader by name."""
    formats = st.sampled_from(
        ["auto"] * 8
        + ["csv", "tsv", "parquet", "jsonl", "movielens", "amazon-2014", "recbole", "sequences-txt"]
    )
    text = st.binary(max_size=200) | mutated(_LOG, _JSON, b"u1::i1::4::100\n", b"u1 i1 i2\nu2 i3\n")
    parquet = _parquet()
    sound = Channels().decision("promote", 1, "a reason", "ann", "2026-01-01T00:00:00+00:00")
    channels = Channels().after(sound)
    document = json.loads(channels.to_json())
    settings = PipelineConfig().model_dump(mode="json")
    sections = {step: section for step, section in settings.items() if isinstance(section, dict)}
    keys = [f"{step}.{key}" for step, section in sections.items() for key in section]
    crons = st.lists(
        st.sampled_from(
            ["*", "0", "5", "1-5", "*/2", "JAN", "mon", "L", "?", "7", "31", "1,2", "99"]
        )
        | st.text(max_size=4),
        max_size=7,
    )
    moments = st.text(max_size=30) | st.datetimes().map(datetime.isoformat)
    form = st.dictionaries(
        st.sampled_from(["reason", "until", "production", "decided", "evidence.drift"]), moments
    )
    return {
        "text": Fuzzed(_ingested, st.tuples(st.sampled_from(_NAMES), text, formats)),
        "parquet": Fuzzed(
            _ingested, st.tuples(st.just("log.parquet"), mutated(parquet), st.just("auto"))
        ),
        "items": Fuzzed(_items, st.tuples(st.sampled_from(_NAMES), text)),
        "item parquet": Fuzzed(_items, st.tuples(st.just("items.parquet"), mutated(parquet))),
        "manifest": Fuzzed(
            _opened, _replaced(_manifest()) | mutated(json.dumps(_manifest()).encode())
        ),
        "settings": Fuzzed(_configured, mutated(_YAML, json.dumps(settings).encode())),
        "override": Fuzzed(
            lambda given: change_config(PipelineConfig(), [f"{given[0]}={given[1]}"]),
            st.tuples(st.sampled_from(keys) | st.text(max_size=8), st.text(max_size=30)),
        ),
        "section": Fuzzed(
            TrainTeacher.from_json,
            _replaced(settings["train_teacher"]).map(json.dumps)
            | mutated(TrainTeacher().to_json().encode()).map(lambda found: found.decode("latin-1")),
        ),
        "cron": Fuzzed(
            _cron,
            st.tuples(crons.map(" ".join), st.sampled_from(["UTC", "Europe/Berlin"]) | st.text()),
        ),
        "channels": Fuzzed(
            lambda given: parse_channels(_bytes(given), "channels.json").after(sound),
            _replaced(document) | mutated(channels.to_json()),
        ),
        "decision": Fuzzed(
            lambda given: parse_decision(_bytes(given), "decision.json"),
            _replaced(document["newest"][0]) | mutated(channels.to_json()),
        ),
        "shown manifest": Fuzzed(
            parse_manifest, (_replaced(_manifest()) | st.binary()).map(_bytes), (ValueError,)
        ),
        "graph": Fuzzed(parse_graph, mutated(_GRAPH), (ValueError,)),
        "form": Fuzzed(
            lambda given: read_form(*given, datetime(2026, 1, 1, tzinfo=UTC)),
            st.tuples(st.sampled_from(ACTIONS) | st.text(), form),
            (ProblemError,),
        ),
    }
