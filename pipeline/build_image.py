"""`python -m pipeline build-image`: the image that every step runs in, named after its code."""

import os
import shutil
import subprocess
import sys
from typing import Annotated, Literal

import typer

from pipeline.code import code_digest, image_name
from pipeline.paths import ROOT
from slmrec import __version__
from slmrec.errors import ConfigError, SlmrecError

EXTRA_INDEX_VARIABLE = "PIP_EXTRA_INDEX_URL"
"""Where pip also looks, here and in the build: for example for the CPU wheel of torch."""


def build_image(
    target: Annotated[
        Literal["cpu", "gpu"], typer.Option(help="Stage of containers/Dockerfile.")
    ] = "cpu",
    base_image: Annotated[
        str,
        typer.Option(
            help="What it stands on, and whose pip configuration finds the packages; default: the "
            "Dockerfile's."
        ),
    ] = "",
    network: Annotated[
        str, typer.Option(help="Network of the build, as 'docker build --network' takes it.")
    ] = "",
) -> None:
    """Build the image of this code with Docker, and print its name.

    Example: python -m pipeline build-image --base-image python:3.11-slim
    """
    if shutil.which("docker") is None:
        raise ConfigError("docker is not installed here, and images are built with it; install it")
    digest = code_digest()
    name = image_name(digest, target)
    arguments = {"VERSION": __version__, "SOURCE_DIGEST": digest, "BASE_IMAGE": base_image}
    given = [f"--build-arg={key}={value}" for key, value in arguments.items() if value]
    if os.environ.get(EXTRA_INDEX_VARIABLE):  # named without its value, which may hold a password
        given.append(f"--build-arg={EXTRA_INDEX_VARIABLE}")
    command = ["docker", "build", "--file=containers/Dockerfile", f"--target={target}", *given]
    if network:
        command.append(f"--network={network}")
    built = subprocess.run(  # noqa: S603 a command of ours
        [*command, f"--tag={name}", "."], cwd=ROOT, stdout=sys.stderr
    )
    if built.returncode:
        raise SlmrecError(
            f"{name}: docker build ended with {built.returncode}; what it says is above"
        )
    print(name)
