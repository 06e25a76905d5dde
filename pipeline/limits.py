"""What `resources.yaml` allows each step, on the task."""

from kfp.dsl import PipelineTask

from components import images
from components.runtime import TIMEOUT_VARIABLE
from pipeline.resources import load_resources

_BACKOFF, _FACTOR, _LONGEST = "30s", 2.0, "600s"
_RESOURCES = load_resources()


def limited(task: PipelineTask) -> PipelineTask:
    """The task with the limits of its step; its timeout is told to the step, which keeps it itself."""
    allowed = _RESOURCES.of(task.name)
    task.set_env_variable(TIMEOUT_VARIABLE, str(allowed.timeout_minutes))
    task.set_cpu_limit(f"{allowed.cpu:g}").set_memory_limit(f"{allowed.memory_gb:g}G")
    if allowed.accelerators:
        task.set_accelerator_type(allowed.accelerator)
        task.set_accelerator_limit(allowed.accelerators)
        task.set_container_image(images.GPU)
    if allowed.retries:
        task.set_retry(allowed.retries, _BACKOFF, _FACTOR, _LONGEST)
    return task
