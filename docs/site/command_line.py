"""The page of all verbs, from the command line itself."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from docs.site.cells import MADE, document, table
from pipeline.cli import app
from pipeline.paths import ROOT

EXECUTED = {
    *("datasets list", "registry list", "registry show", "registry diff", "registry sign"),
    *("registry promote", "registry rollback", "registry reject", "registry retrain"),
    *("registry snooze", "registry decisions", "registry prune"),
}
"""Verbs whose examples a test runs, in the order of the page, in a home of three versions."""
INTRODUCTION = """
`python -m pipeline VERB`, in the environment that `make setup` makes: `.venv/bin/python`. Every verb
says all of this with `--help`.

Exit codes: 0 done; 2 wrong usage or configuration, a missing input; 3 the data cannot be read or
failed validation; 4 a step failed; 5 `--require-promotion` was given, and the gates refused or a person
had taken that model back; 130
stopped.
"""
VALUES = {
    "": "",
    "%Y-%m-%d": "date",
    "str": "text",
    "list[str]": "text",
    "int": "whole number",
    "int range": "whole number",
    "float": "number",
    "float range": "number",
    "path": "path",
    "file": "file",
    "dir": "folder",
}
WIDTH = 88
"""Characters of a command; more would have to be scrolled on the site."""
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')


def page() -> str:
    """The whole page."""
    command = typer.main.get_command(app)
    return document(
        ["# Command line", MADE, command.help or "", INTRODUCTION, *_verbs(command, [])]
    )


def _verbs(command: Any, above: Sequence[str]) -> Iterator[str]:
    if not isinstance(command, TyperGroup):
        yield from _verb(command, above)
        return
    if above:
        yield f"## {' '.join(above)}"
        yield _told(command)[0]
    for name, inner in command.commands.items():
        yield from _verbs(inner, [*above, name])


def _verb(command: TyperCommand, names: Sequence[str]) -> Iterator[str]:
    text, example = _told(command)
    context = command.make_context(" ".join(names), [], resilient_parsing=True)
    usage = " ".join(["python -m pipeline", *names, *command.collect_usage_pieces(context)])
    yield f"{'#' * (1 + len(names))} {' '.join(names)}"
    yield text
    yield f"```text\n{usage}\n```"
    if example:
        executed = "<!-- executed -->\n" if " ".join(names) in EXECUTED else ""
        yield f"{executed}```bash\n{_wrapped(example)}\n```"
    found = [(one.param_type_name, *_parameter(one, context)) for one in command.params]
    for kind in ("argument", "option"):
        rows = [row for which, *row in found if which == kind]
        if rows:
            yield table((kind, "value", "what it does"), rows)


def _told(command: TyperCommand | TyperGroup) -> tuple[str, str]:
    """What the help says, and the example at its end."""
    text, _, example = (command.help or "").partition("Example: ")
    return text.strip(), " ".join(example.split())


def _parameter(parameter: Any, context: Any) -> tuple[str, str, str]:
    """Name, value and meaning, as `--help` has them."""
    name, meaning = parameter.get_help_record(context)
    words, _, value = name.partition(" <")
    value = value.removesuffix(">")
    choices = ", ".join(f"`{choice}`" for choice in value.split("|"))
    return f"`{words}`", VALUES.get(value, choices), meaning.replace(f"{ROOT}/", "")


def _wrapped(command: str) -> str:
    """A command over as many lines as it needs."""
    lines = [""]
    for word in _WORD.findall(command):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > WIDTH:
            lines.append("  " + word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip() if len(lines) == 1 else f"{lines[-1]} {word}"
    return " \\\n".join(lines)
