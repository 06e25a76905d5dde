"""Where verbs print: as wide as the terminal, and the same everywhere where there is none."""

import sys
from typing import TextIO

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns, where the output is not a terminal."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def table_console(out: TextIO | None = None) -> Console:
    """For tables and what stands around them; bound to what the standard output is now."""
    out = out or sys.stdout
    return Console(file=out, highlight=False, width=None if out.isatty() else PLAIN_WIDTH)


def line_console(*, stderr: bool = False) -> Console:
    """For sentences, which the terminal wraps, so that whoever copies an address gets all of it."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)
