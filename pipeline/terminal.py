"""What verbs print: styles are ours, texts are shown and never obeyed; and how wide it is."""

import contextlib
import io
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.segment import Segment

from slmrec.visible import visible, visible_json

PLAIN_WIDTH = 120
"""Columns, where the output is not a terminal."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(Console):
    """A console on which a text neither styles itself nor moves the cursor.

    Rich leaves escape sequences in texts as they are, and reads `[bold]` in a title as its own.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of `rich.console.Console`."""
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        # Where every way to print ends, before Rich adds the styles' own sequences.
        return super()._render_buffer(
            segment if segment.control else segment._replace(text=visible(segment.text))
            for segment in buffer
        )


def table_console(out: TextIO | None = None) -> Terminal:
    """For tables and what stands around them; bound to what the standard output is now."""
    out = out or sys.stdout
    return Terminal(file=out, width=None if out.isatty() else PLAIN_WIDTH)


def line_console(*, stderr: bool = False) -> Terminal:
    """For sentences, which the terminal wraps, so that whoever copies an address gets all of it."""
    return Terminal(stderr=stderr, soft_wrap=True)


def plain(text: str) -> str:
    """A text of another program without its styles and without anything that cannot be seen."""
    return visible(_STYLES.sub("", text))


class PlainLog(io.TextIOBase):
    """A stream whose text has neither styles nor anything that cannot be seen.

    What its disk does not take is lost: who logs has worse to tell of than that.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        """Whether anything can be written."""
        return True

    def write(self, text: str) -> int:
        """Write a text as it may be shown."""
        with contextlib.suppress(OSError):
            self._stream.write(plain(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def print_json(content: Any) -> None:
    """Print JSON; what cannot be seen is written as JSON's own escapes, so its value stays."""
    print(visible_json(content, indent=1, default=str))
