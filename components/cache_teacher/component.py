"""Ports of `cache_teacher`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def cache_teacher(
    sequences: Input[Dataset],
    teacher: Input[Model],
    shard: str,
    config: str,
    cache: Output[Dataset],
) -> None:
    """Run the teacher once over a shard of the users and keep what it says."""
    from components.cache_teacher.step import run

    cache.metadata.update(run(sequences.path, teacher.path, shard, config, cache.path))
