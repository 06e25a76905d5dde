"""What the faults of Cloud Storage are tried on: operations of each kind, and what has to hold after.

Each trial works on a bucket that fails as its plan says, and checks contents against the bucket's own
memory, which no request goes through.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slmrec.errors import RegistryConflict
from slmrec.registry.store import Registry
from slmrec.storage.bucket import Bucket
from slmrec.storage.documents import ABSENT
from slmrec.storage.files import fetch, list_objects
from slmrec.storage.patience import Patience
from tests.registry.registries import FACTS, WHEN, artifact
from tests.storage.cloud import Bucket as Served
from tests.storage.cloud import Stored
from tests.storage.faults import Plan

SILENCE = 0.25
PATIENT = Patience(
    silence=SILENCE, first_wait=0.005, longest_wait=0.04, deadline=60, unreachable=60
)
CHUNK, RANGE = 512, 300
"""Bytes, small, so that every transfer takes several; set in `uploads` and `ranges` by the tests."""


class Trial:
    """One bucket, one client, and a plan of faults that begins with `begin`."""

    def __init__(self, served: Served, client: object, scratch: Path) -> None:
        self.served = served
        self.client = client
        self.scratch = scratch
        self.documents = Bucket("gs://models/registry", client=client, patience=PATIENT)

    def begin(self, seed: int, rate: float) -> Plan:
        self.served.plan = Plan(seed, rate, stall_seconds=2 * SILENCE)
        return self.served.plan

    def stored(self, name: str) -> bytes:
        return self.served.objects[f"registry/{name}"].content

    def times_written(self, name: str) -> int:
        return self.served.writes.count(f"registry/{name}")


def create_once(trial: Trial, operations: int) -> None:
    """A document is created; whoever comes second is told so, and changes nothing."""
    for number in range(operations // 2):
        name = f"created/{number}.json"
        assert trial.documents.replace(name, b"first %d" % number, ABSENT)
        assert not trial.documents.replace(name, b"second", ABSENT)
        assert trial.stored(name) == b"first %d" % number
        assert trial.times_written(name) == 1


def compare_and_swap(trial: Trial, operations: int) -> None:
    """Two writers count in one document, each on what it saw; no count is lost and none doubled."""
    trial.documents.replace("count.json", b"0", ABSENT)
    done = []

    def count(times: int) -> None:
        for _ in range(times):
            while True:
                seen = trial.documents.read("count.json")
                changed = b"%d" % (int(seen.content) + 1)
                if trial.documents.replace("count.json", changed, seen.generation):
                    break
            done.append(1)

    threads = [threading.Thread(target=count, args=(operations // 2,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A swap that succeeded unseen because the other writer came right after it is counted anew, which
    # documents alone cannot tell; the registry's decisions can, and are tried below.
    assert len(done) == 2 * (operations // 2)
    assert int(trial.stored("count.json")) == trial.times_written("count.json") - 1


def swap_alone(trial: Trial, operations: int) -> None:
    """One writer counts; every count is made once, whatever became of the answers."""
    assert trial.documents.replace("alone.json", b"0", ABSENT)
    for number in range(operations):
        seen = trial.documents.read("alone.json")
        assert seen.content == b"%d" % number
        assert trial.documents.replace("alone.json", b"%d" % (number + 1), seen.generation)
    assert trial.times_written("alone.json") == operations + 1


def upload_folders(trial: Trial, operations: int) -> None:
    """Folders with small, large and empty files arrive as they are, each file once."""
    sizes = {"empty": 0, "small": 200, "even": 4 * CHUNK, "large": 5 * CHUNK + 77}
    for number in range(operations // len(sizes)):
        files = {}
        for name, size in sizes.items():
            path = trial.scratch / f"up-{number}-{name}"
            path.write_bytes(np.random.default_rng([number, size]).bytes(size))
            files[f"folder/{number}/{name}"] = path
        trial.documents.put_all(files)
        for name, path in files.items():
            assert trial.stored(name) == path.read_bytes()
            assert trial.times_written(name) == 1
        found = [name for name in trial.served.objects if f"/folder/{number}/" in name]
        assert len(found) == len(sizes)


def download_in_ranges(trial: Trial, operations: int) -> None:
    """Objects of several ranges, of one and of none arrive whole, with nothing beside them."""
    for number in range(operations):
        size = (0, RANGE, 7 * RANGE + 11)[number % 3]
        content = np.random.default_rng(number).bytes(size)
        trial.served.objects[f"logs/{number}"] = Stored(content, 1 + number, {})
        folder = trial.scratch / f"down-{number}"
        path = fetch(f"gs://models/logs/{number}", folder, client=trial.client, patience=PATIENT)
        assert path.read_bytes() == content
        assert [file.name for file in folder.iterdir()] == [str(number)]


def list_pages(trial: Trial, operations: int) -> None:
    """Listings of several pages are complete, in order, and without repetition."""
    names = [f"listed/{number:02d}" for number in range(10)]
    for name in names:
        trial.served.objects[name] = Stored(b"x", 1, {})
    for _ in range(operations):
        found = list_objects("gs://models/listed/", client=trial.client, patience=PATIENT)
        assert [described.uri for described in found] == [f"gs://models/{name}" for name in names]


def register_and_promote(trial: Trial, operations: int) -> None:
    """Versions are added and promoted by turns, each once, with every decision in the log."""
    trial.served.page = 1000
    registry = Registry(Bucket("gs://models/turns", client=trial.client, patience=PATIENT))
    parts = {
        kind: [
            artifact(trial.scratch / f"turn-{kind}-{number}", kind, [number, "x" * 2000])
            for number in range(operations if kind == "servable" else 1)
        ]
        for kind in ("servable", "evaluation", "timings")
    }
    for number in range(operations // 2):
        version = registry.add(
            parts["servable"][number],
            parts["evaluation"][0],
            parts["timings"][0],
            FACTS,
            code_digest="code",
            settings_digest="settings",
            time=WHEN,
        )
        assert version.number == number + 1
        made = registry.promote(
            version.number, number or None, reason=f"r{number}", actor="me", time=WHEN
        )
        assert (made.version, made.previous) == (number + 1, number or None)
    count = operations // 2
    served = json.loads(trial.served.objects["turns/channels.json"].content)
    assert served["served"] == list(range(1, count + 1))
    assert served["decided"] == count
    assert len(registry.decisions()) == count
    for number in range(1, count + 1):
        content = registry.artifact(number, "model").json("content.json")
        assert content == [number - 1, "x" * 2000]
    assert all(trial.served.writes.count(name) == 1 for name in _once(trial.served))


def decide_together(trial: Trial, operations: int) -> None:
    """Four people promote what does not serve, each until he is told that he did; none is told wrong.

    Who hears of a conflict has promoted nothing, and who hears nothing of one has done it once.
    """
    trial.served.page = 1000
    place = "gs://models/together"
    first = Registry(Bucket(place, client=trial.client, patience=PATIENT))
    for model in (1, 2):
        parts = [
            artifact(trial.scratch / f"{kind}-{model}", kind, model)
            for kind in ("servable", "evaluation", "timings")
        ]
        first.add(*parts, FACTS, code_digest="code", settings_digest="settings", time=WHEN)
    told = {}

    def decide(who: int) -> None:
        registry = Registry(Bucket(place, client=trial.client, patience=PATIENT))
        for number in range(operations // 4):
            for attempt in range(1000):
                current = registry.channels().production
                reason = f"{who}-{number}-{attempt}"
                try:
                    made = registry.promote(
                        1 if current == 2 else 2, current, reason=reason, actor="me", time=WHEN
                    )
                except RegistryConflict:
                    continue
                told[reason] = made.number
                break

    threads = [threading.Thread(target=decide, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = {decision.reason: decision.number for decision in first.decisions()}
    assert made == told
    assert sorted(made.values()) == list(range(1, 4 * (operations // 4) + 1))


def _once(served: Served) -> list[str]:
    """What a registry writes once: all but its channels."""
    return [name for name in served.objects if not name.endswith("channels.json")]


TRIALS: dict[str, Callable[[Trial, int], None]] = {
    "create once": create_once,
    "compare and swap": swap_alone,
    "compare and swap by two": compare_and_swap,
    "upload folders": upload_folders,
    "download in ranges": download_in_ranges,
    "list": list_pages,
    "register and promote": register_and_promote,
    "decide together": decide_together,
}
