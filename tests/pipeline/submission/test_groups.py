"""Options that stand once, as fields of a dataclass, and are options of every command that takes it."""

from dataclasses import dataclass, field
from typing import Annotated

import typer
from typer.testing import CliRunner

from pipeline.submission.groups import grouped


@dataclass(frozen=True)
class Place:
    host: Annotated[str, typer.Option("--at", help="Where.")]
    tags: Annotated[list[str], typer.Option("--tag")] = field(default_factory=list)


def test_a_command_has_the_fields_as_options_and_receives_the_dataclass_when_it_takes_one() -> None:
    received = []
    app = typer.Typer()

    @app.command()
    @grouped
    def go(which: Annotated[str, typer.Argument()], place: Place, loud: bool = False) -> None:
        """Say where."""
        received.append((which, place, loud))

    runner = CliRunner()
    said = runner.invoke(app, ["x", "--at", "here", "--tag", "a", "--tag", "b", "--loud"])
    assert said.exit_code == 0, said.output
    assert runner.invoke(app, ["y", "--at", "there"]).exit_code == 0
    assert received == [("x", Place("here", ["a", "b"]), True), ("y", Place("there", []), False)]
    missing = runner.invoke(app, ["z"])
    assert (missing.exit_code, len(received)) == (2, 2)
    assert "Say where." in runner.invoke(app, ["--help"]).output
