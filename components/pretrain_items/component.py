"""Ports of `pretrain_items`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def pretrain_items(sequences: Input[Dataset], config: str, items_model: Output[Model]) -> None:
    """Train SASRec, whose item embeddings the teacher starts from."""
    from components.pretrain_items.step import run

    items_model.metadata.update(run(sequences.path, config, items_model.path))
