"""Ports of `validate_data`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def validate_data(
    interactions: Input[Dataset], previous: str, config: str, verdict: Output[Dataset]
) -> None:
    """Hold the canonical log against its expectations; a log that fails stops the run."""
    from components.validate_data.step import run

    verdict.metadata.update(run(interactions.path, previous, config, verdict.path))
