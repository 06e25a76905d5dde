"""Ports of `quantize_student`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def quantize_student(
    sequences: Input[Dataset], pruned: Input[Model], variant: str, servable: Output[Model]
) -> None:
    """Export the pruned student to ONNX in the variant's number type."""
    from components.quantize_student.step import run

    servable.metadata.update(run(sequences.path, pruned.path, variant, servable.path))
