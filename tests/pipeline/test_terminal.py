"""Where verbs print: how wide, whether sentences are cut, and that texts are not obeyed."""

import contextlib
import json
from collections.abc import Callable
from io import StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.terminal import PLAIN_WIDTH, PlainLog, line_console, table_console
from slmrec.visible import visible_json


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_tables_have_one_width_when_the_output_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    assert table_console(StringIO()).width == PLAIN_WIDTH
    assert table_console(Terminal()).width == 60


def test_sentences_stay_in_one_line_when_they_are_longer_than_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line_console(stderr=True).print("address " * 100)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("make", [table_console, line_console])
def test_texts_are_shown_as_they_are_on_every_console(
    make: Callable[[], Console], capsys: pytest.CaptureFixture[str]
) -> None:
    make().print("[bold]a :skull:\x1b[2J")
    assert capsys.readouterr().out == "[bold]a :skull:\ufffd[2J\n"


def test_a_title_keeps_its_value_when_it_is_told_as_json() -> None:
    told = visible_json({"é": "\x9b\u202e\U000e0041\ttitle"})
    assert told == '{"é": "\\u009b\\u202e\\udb40\\udc41\\ttitle"}'
    assert json.loads(told) == {"é": "\x9b\u202e\U000e0041\ttitle"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_log_that_its_disk_does_not_take_disturbs_nobody() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        TextIOWrapper(full, encoding="utf-8", write_through=True) as stream,
    ):
        with pytest.raises(OSError, match="No space left"):
            stream.write("what a log without care would say")
        with contextlib.redirect_stdout(PlainLog(stream)):
            print("a step says something")
            print("and more", flush=True)
