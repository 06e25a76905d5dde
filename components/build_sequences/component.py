"""Ports of `build_sequences`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def build_sequences(
    interactions: Input[Dataset],
    verdict: Input[Dataset],
    config: str,
    sequences: Output[Dataset],
) -> None:
    """Build time-ordered histories, id maps and splits from the validated log."""
    from components.build_sequences.step import run

    sequences.metadata.update(run(interactions.path, verdict.path, config, sequences.path))
