"""One training step on several machines: what both kinds of manifest are made from."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.runtime import CHECKPOINTS_VARIABLE, TIMEOUT_VARIABLE
from pipeline.resources import StepResources
from slmrec.errors import ConfigError

RUN_STEP = "components.run_step"
"""The module that every process runs."""
START_MINUTES = 30
"""What a job gets beyond the step's own timeout: images are pulled, machines come up."""


@dataclass(frozen=True)
class TrainingJob:
    """A step, what it reads and writes, and the machines that do it together."""

    name: str
    step: str
    image: str
    nodes: int
    processes: int
    """On each node."""
    allowed: StepResources
    """Of each node."""
    arguments: Sequence[str]
    """Of `components.run_step`."""
    checkpoints: str = ""
    """A folder that all nodes see, where a job that is begun again finds itself; empty for none."""
    service_account: str = ""
    """Whom the processes run as; empty for the service's own choice."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables of every node: the step ends itself in time, and processes share the cores."""
        kept = {CHECKPOINTS_VARIABLE: self.checkpoints} if self.checkpoints else {}
        return {
            "OMP_NUM_THREADS": str(max(1, int(self.allowed.cpu) // self.processes)),
            TIMEOUT_VARIABLE: str(self.allowed.timeout_minutes),
            **kept,
        }

    @property
    def deadline_seconds(self) -> int:
        """After so long the service ends what did not end itself."""
        return 60 * (self.allowed.timeout_minutes + START_MINUTES)


def step_arguments(
    step: str, inputs: Sequence[str], output: str, config: str, shared: str
) -> list[str]:
    """Arguments of `components.run_step` for inputs given as PORT=PATH, an output and a section.

    Every path lies below `shared`, which all nodes see. Raises `ConfigError` for an input that the
    step does not take, that it needs and is missing, or that lies elsewhere.
    """
    ports = getattr(importlib.import_module(f"components.{step}.component"), step).component_spec
    wanted = [name for name, port in ports.inputs.items() if name != "config"]
    several = {name for name in wanted if ports.inputs[name].is_artifact_list}
    given: dict[str, list[str]] = {}
    for text in inputs:
        name, _, path = text.partition("=")
        if name not in wanted:
            raise ConfigError(
                f"--input {text}: {step} has no such input; expected NAME=PATH with one of "
                f"{', '.join(wanted)}"
            )
        check_shared(f"--input {text}", path, shared)
        if name in given and name not in several:
            raise ConfigError(f"--input {text}: '{name}' was given before, and {step} takes one")
        given.setdefault(name, []).append(path)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise ConfigError(
            f"--input: {step} also needs {', '.join(missing)}; add --input {missing[0]}=PATH"
        )
    (written,) = ports.outputs
    check_shared("--output", output, shared)
    paths: Mapping[str, list[str]] = given | {"config": [config], written: [output]}
    options = [[f"--{name.replace('_', '-')}", *values] for name, values in paths.items()]
    return [step, *(word for option in options for word in option)]


def check_shared(option: str, path: str, shared: str) -> None:
    """Raise `ConfigError` for a path that does not lie below `shared`."""
    if not path.startswith(f"{shared.rstrip('/')}/") or ".." in path.split("/"):
        raise ConfigError(
            f"{option}: found '{path}', expected a path below {shared}, which all machines see"
        )
