"""Ports of `train_teacher`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def train_teacher(
    sequences: Input[Dataset], items_model: Input[Model], config: str, teacher: Output[Model]
) -> None:
    """Train the deep model that the student will learn from."""
    from components.train_teacher.step import run

    teacher.metadata.update(run(sequences.path, items_model.path, config, teacher.path))
