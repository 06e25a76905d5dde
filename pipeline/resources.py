"""What each step may use of a machine, and for how long: `resources.yaml`, read strictly."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel, model_validator

from pipeline.paths import RESOURCES_FILE, ROOT
from slmrec.config.section import Positive, Section
from slmrec.policy import load_policy


class StepResources(Section):
    """Limits of one step."""

    cpu: Annotated[float, Field(gt=0)]
    """Cores."""
    memory_gb: Annotated[float, Field(gt=0)]
    """Memory, 10⁹ bytes; a step that needs more is ended by the machine."""
    accelerator: str = ""
    """Kind of accelerator as the cluster names it: `nvidia.com/gpu`, on Vertex `NVIDIA_L4`."""
    accelerators: Annotated[int, Field(ge=0)] = 0
    """How many of them."""
    timeout_minutes: Positive
    """After so long the step ends itself and what it started."""
    retries: Annotated[int, Field(ge=0, le=10)]
    """How often a cluster begins a step again that failed."""

    @model_validator(mode="after")
    def _named_when_counted(self) -> "StepResources":
        if bool(self.accelerator) != bool(self.accelerators):
            raise ValueError(
                f"accelerator is '{self.accelerator}' and accelerators {self.accelerators}; expected "
                "both or neither"
            )
        return self


class Resources(RootModel[dict[str, StepResources]]):
    """Limits of every step, by its name, in the order of the file."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _of_every_step(self) -> "Resources":
        found, expected = set(self.root), step_names()
        for name in sorted(expected - found):
            raise ValueError(f"no line for the step '{name}', which is a folder of components/")
        for name in sorted(found - expected):
            raise ValueError(
                f"no step is called '{name}'; the steps are {', '.join(sorted(expected))}"
            )
        return self

    def names(self) -> list[str]:
        """The steps, in the order of the file."""
        return list(self.root)

    def of(self, step: str) -> StepResources:
        """Limits of a step, `train_teacher` or, as KFP calls it, `train-teacher`."""
        return self.root[step.replace("-", "_")]


def step_names() -> set[str]:
    """The names of all steps: the folders of components/ that hold one."""
    return {path.parent.name for path in (ROOT / "components").glob("*/component.py")}


def load_resources(file: Path = RESOURCES_FILE) -> Resources:
    """Read what the steps may use. Raises `ConfigError` naming the file and what is wrong in it."""
    return load_policy(file, Resources)
