"""The command line as a user has it: what it prints, and how it ends."""

from typer.testing import CliRunner

from pipeline.cli import app
from slmrec.errors import ConfigError

IMAGE = f"ghcr.io/shop/slmrec@sha256:{'0a' * 32}"
RUN = ("--registry", "gs://shop/models", "--image", IMAGE)


def call(*arguments: str) -> str:
    """Standard output of a command that ends well; errors raised on purpose come through."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str) -> str:
    """The message of a command that ends with exit code 2."""
    try:
        said = call(*arguments)
    except ConfigError as error:
        return str(error)
    raise AssertionError(f"was not refused: {said}")
