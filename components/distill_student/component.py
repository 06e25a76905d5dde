"""Ports of `distill_student`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def distill_student(
    sequences: Input[Dataset],
    teacher: Input[Model],
    caches: Input[list[Dataset]],
    config: str,
    student: Output[Model],
) -> None:
    """Train the student from the teacher cache, without running the teacher."""
    from components.distill_student.step import run

    student.metadata.update(
        run(sequences.path, teacher.path, [cache.path for cache in caches], config, student.path)
    )
