"""Command lines of this project in texts: guides, workflows, build files. They must stay true."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup

from pipeline.cli import app

ROOT = Path(__file__).resolve().parents[1]
USAGE_ERROR = typer.BadParameter.__bases__[0]
"""What Typer's own Click raises for words that a verb does not take; Typer names its heirs only."""
COMMAND_LINE = typer.main.get_command(app)
_START = re.compile(r"(?:^|[(;&|] *|[\"'] +)((?:\S*python3? -m pipeline|make)(?= |$))")
_ENDS = {"|", "||", "&&", ";", ">", ">>", "<<<", ")", "&", "\\"}


def commands_in(script: str) -> Iterator[list[str]]:
    """The words of every `python -m pipeline …` and `make …` of a shell script."""
    joined = re.sub(r"\\\n\s*", "", script)
    for line in map(str.strip, joined.splitlines()):
        if line.startswith("#"):
            continue
        for found in _START.finditer(line):
            words = _words(line[found.start(1) :])
            yield ["make", *words[1:]] if words[0] == "make" else words[3:]


def _words(text: str) -> list[str]:
    """Words up to where the shell begins another command or a comment."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in _ENDS:
            break
        words.append(word)
    return words


def complaint(words: list[str], *, named: bool = False) -> str:
    """What the command line says against these words; empty when it takes them.

    A verb that is only `named`, without any option, need not have those that it cannot do without.
    """
    command = COMMAND_LINE
    context = command.make_context("pipeline", [], resilient_parsing=True)
    rest = list(words)
    while isinstance(command, TyperGroup):
        if not rest:
            return f"{command.name}: a verb is missing"
        name = rest.pop(0)
        inner = command.get_command(context, name)
        if inner is None:
            return f"{name}: no such verb of {command.name}"
        command = inner
    if named and not any(word.startswith("-") for word in rest):
        return ""
    try:
        command.make_context(command.name, rest, parent=context)
    except USAGE_ERROR as error:
        return f"{' '.join(words)}: {error.format_message()}"
    return ""


def make_targets() -> set[str]:
    """Every target of the Makefile that stands in its help."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE))
