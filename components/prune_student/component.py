"""Ports of `prune_student`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def prune_student(
    sequences: Input[Dataset], student: Input[Model], variant: str, pruned: Output[Model]
) -> None:
    """Keep the variant's share of the student's feed-forward channels."""
    from components.prune_student.step import run

    pruned.metadata.update(run(sequences.path, student.path, variant, pruned.path))
