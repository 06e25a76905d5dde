"""What `resources.yaml` allows each step, on the task."""

from kfp.dsl import PipelineTask
from kfp.dsl.structures import ResourceSpec

from components import images
from components.runtime import TIMEOUT_VARIABLE
from pipeline.resources import load_resources

_BACKOFF, _FACTOR, _LONGEST = "30s", 2.0, "600s"
_RESOURCES = load_resources()


def limited(task: PipelineTask) -> PipelineTask:
    """The task with the limits of its step; its timeout is told to the step, which keeps it itself."""
    allowed = _RESOURCES.of(task.name)
    container = task.container_spec
    assert container is not None
    # KFP's setters say the same, but each reads the source of every caller (0.1 s, 42 times).
    container.env = {TIMEOUT_VARIABLE: str(allowed.timeout_minutes)}
    container.resources = ResourceSpec(
        cpu_limit=f"{allowed.cpu:g}", memory_limit=f"{allowed.memory_gb:g}G"
    )
    if allowed.accelerators:
        container.resources.accelerator_type = allowed.accelerator
        container.resources.accelerator_count = str(allowed.accelerators)
        task.set_container_image(images.GPU)
    if allowed.retries:
        task.set_retry(allowed.retries, _BACKOFF, _FACTOR, _LONGEST)
    return task
