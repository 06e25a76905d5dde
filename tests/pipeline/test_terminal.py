"""Where verbs print: how wide, and whether sentences are cut."""

from io import StringIO

import pytest

from pipeline.terminal import PLAIN_WIDTH, line_console, table_console


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
    line_console(stderr=True).print("address " * 100, markup=False)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
