"""Every text of the project: its links, its anchors, and the blocks of code in it."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / ".github").glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "components").glob("*/README.md"),
    ]
)
GUIDES = sorted((ROOT / "docs" / "guides").rglob("*.md"))
EXECUTED = "<!-- executed -->"
"""Stands on the line before a block that a test runs."""

_BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```[ ]*$", flags=re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", flags=re.DOTALL)
_LINKS = (
    re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)"),
    re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$", flags=re.MULTILINE),
    re.compile(r"<(?:a|img)\b[^>]*?\b(?:href|src)=\"([^\"]+)\""),
)
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*\s*$", flags=re.MULTILINE)
_NAMED = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block of a text."""

    language: str
    code: str
    executed: bool


def names(path: Path) -> str:
    """A text's path in the repository, which names its tests."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    """A text."""
    return path.read_text(encoding="utf-8")


@cache
def blocks(path: Path) -> tuple[Block, ...]:
    """The fenced blocks of a text, in its order."""
    text = text_of(path)
    found = []
    for match in _BLOCK.finditer(text):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2].strip()
        indent = len(match[1])
        code = "".join(line[indent:] for line in match[3].splitlines(keepends=True))
        found.append(Block(match[2], code, before == EXECUTED))
    return tuple(found)


def code_in(path: Path, *languages: str) -> list[str]:
    """What stands in the blocks of some languages; "" is a block that names none."""
    return [block.code for block in blocks(path) if block.language in languages]


def without_blocks(path: Path) -> str:
    """A text without its fenced blocks."""
    return _BLOCK.sub("", text_of(path))


def links(path: Path) -> list[str]:
    """Where a text leads to inside the repository: a path, an anchor, or both."""
    prose = _CODE.sub("`code`", without_blocks(path))
    found = [link for pattern in _LINKS for link in pattern.findall(prose)]
    return [link for link in found if not re.match(r"\w+:", link)]


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a text, as GitHub makes them of its headings."""
    prose = without_blocks(path)
    seen: Counter[str] = Counter()
    made = set(_NAMED.findall(prose))
    for heading in _HEADING.findall(prose):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        made.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(made)
