"""YAML from people and from the network: plain values, read in bounded time, or refused.

A few hundred bytes of YAML can stand for gigabytes (an alias of aliases), name Python objects, or say
a key twice. Documents are looked at as they were written before any value is made of them.
"""

from pathlib import Path
from typing import Any

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from slmrec.errors import ConfigError

LARGEST = 512 * 1024
"""Bytes of a file; the compiled pipeline, the largest that we write, has an eighth of it."""
MOST_VALUES = 20_000
"""Values with every alias written out."""
DEEPEST = 50
LONGEST_NUMBER = 100
"""Characters: more are no setting, and Python would compute on them for long."""
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file; `what` is what it should be, for the message when it is missing.

    Raises `ConfigError` as `parse_yaml` does, and where there is no such file or it is too large.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError(
                f"{path}: more than {LARGEST // 1024} KB, expected {what} of a few; name the right file"
            )
        return parse_yaml(content.decode("utf-8"), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a UTF-8 file: {error}") from None


def parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML document; None for an empty one.

    Raises `ConfigError` naming `source` and the place where the text is no single document of plain
    values, says a key twice, or stands for more than `MOST_VALUES` values.
    """
    try:
        _require_modest(text, source)
        loader = yaml.CSafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _Judge(source).judge(root)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None
    except (ValueError, OverflowError, RecursionError, TypeError) as error:
        # such as the 99th of a month, which looks like a date and is none
        raise ConfigError(f"{source}: not valid YAML: {error}") from None


def _require_modest(text: str, source: str) -> None:
    # Before nodes are made: libyaml's loader makes them by recursion and takes the process with it.
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, CollectionStartEvent)
        depth -= isinstance(event, CollectionEndEvent)
        values += isinstance(event, NodeEvent)
        if depth > DEEPEST or values > MOST_VALUES:
            found = _too_deep() if depth > DEEPEST else _too_many()
            raise ConfigError(f"{source}: {_place(event.start_mark)}: {found}")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _too_deep() -> str:
    return f"more than {DEEPEST} levels deep; no setting is"


def _too_many() -> str:
    return f"stands for more than {MOST_VALUES:,} values; no settings are so many"


class _Judge:
    """Refuses a document that is more than it looks."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._judged: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def judge(self, node: Node) -> tuple[int, int]:
        """How many values a node stands for, and how deep they are. Raises `ConfigError`."""
        known = self._judged.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise self._refusal(node, "an alias of what it is part of; write the value out")
        self._open.add(id(node))
        if isinstance(node, MappingNode):
            self._require_different_keys(node)
        elif node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise self._refusal(node, f"a number of more than {LONGEST_NUMBER} characters")
        size, depth = 1, 0
        for part in _parts(node):
            values, levels = self.judge(part)
            size, depth = size + values, max(depth, levels + 1)
        if size > MOST_VALUES or depth > DEEPEST:
            raise self._refusal(node, _too_deep() if depth > DEEPEST else _too_many())
        self._open.discard(id(node))
        self._judged[id(node)] = size, depth
        return size, depth

    def _require_different_keys(self, node: MappingNode) -> None:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag == _MERGE:
                continue
            written = (key.tag, key.value)
            if written in seen:
                raise self._refusal(
                    key, f"the key '{key.value[:80]}' a second time; keep one of them"
                )
            seen.add(written)

    def _refusal(self, node: Node, found: str) -> ConfigError:
        mark = node.start_mark
        return ConfigError(
            f"{self._source}: line {mark.line + 1}, column {mark.column + 1}: {found}"
        )


def _parts(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, SequenceNode) else []
