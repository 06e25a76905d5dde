"""Ports of `promote_model`."""

from typing import List  # noqa: UP035  KFP recognises a list of artifacts by this name

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def promote_model(
    evaluation: Input[Dataset],
    timings: Input[Dataset],
    candidates: Input[List[Model]],  # noqa: UP006
    sequences: Input[Dataset],
    registry: str,
    code_digest: str,
    settings_digest: str,
    started: str,
    config: str,
    promotion: Output[Dataset],
) -> None:
    """Register the candidate and make it production if it passes every gate."""
    from components.promote_model.step import run

    found = run(
        evaluation.path,
        timings.path,
        [candidate.path for candidate in candidates],
        sequences.path,
        registry,
        code_digest,
        settings_digest,
        started,
        config,
        promotion.path,
    )
    promotion.metadata.update(found)
