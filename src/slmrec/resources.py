"""What each step may use of a machine, and for how long."""

from typing import Annotated

from pydantic import Field, model_validator

from slmrec.config.section import Positive, Section


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


class Resources(Section):
    """Limits of every step, by its name."""

    snapshot_source: StepResources
    ingest_interactions: StepResources
    validate_data: StepResources
    build_sequences: StepResources
    monitor_drift: StepResources
    decide_retraining: StepResources
    pretrain_items: StepResources
    train_teacher: StepResources
    cache_teacher: StepResources
    distill_student: StepResources
    prune_student: StepResources
    quantize_student: StepResources
    evaluate_models: StepResources
    promote_model: StepResources

    def of(self, step: str) -> StepResources:
        """Limits of a step, `train_teacher` or, as KFP calls it, `train-teacher`."""
        found: StepResources = getattr(self, step.replace("-", "_"))
        return found
