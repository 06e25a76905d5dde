"""What tests of the registry do to one, in a folder or in a bucket."""

import json

from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.registry.versions import DataFacts

FACTS = DataFacts(
    sequences_digest="sequences",
    interactions=1000,
    last=99,
    source_digest="log",
    log_interactions=1200,
)
WHEN = "2026-01-02T03:04:05+00:00"
VERSION = json.dumps(
    {
        "number": 1,
        "name": "int8",
        **dict.fromkeys(("model_digest", "evaluation_digest", "code_digest"), "d"),
        "settings_digest": "s",
        "data": {"sequences_digest": "s", "interactions": 1, "last": 1},
        "added": WHEN,
    }
).encode()


def artifact(path, kind, content):
    with publish(path, kind, properties={"name": "int8"}) as directory:
        write_json(directory / "content.json", content)
    return open_artifact(path)


def alter(documents, name, content):
    """Change a document behind the registry's back."""
    assert documents.replace(name, content, documents.read(name).generation)


def promote(registry, version, expected):
    return registry.promote(version, expected, reason="better", actor="me", time=WHEN)


def roll_back(registry):
    return registry.rollback(reason="complaints", actor="me", time=WHEN)


def served(registry, add, *numbers):
    """Promote versions one after another."""
    for model in range(1, max(numbers) + 1):
        add(registry, model=model)
    before = None
    for number in numbers:
        promote(registry, number, before)
        before = number
