"""Ports of `prune_student`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def prune_student(
    sequences: Input[Dataset],
    student: Input[Model],
    caches: Input[list[Dataset]],
    variant: str,
    config: str,
    pruned: Output[Model],
) -> None:
    """Take away what the variant says, and let the student recover from it."""
    from components.prune_student.step import run

    pruned.metadata.update(
        run(
            sequences.path,
            student.path,
            [cache.path for cache in caches],
            variant,
            config,
            pruned.path,
        )
    )
