"""The command line as the smoke tests start it."""

from tests.smoke.conftest import command, tiny

__all__ = ["command", "tiny"]
