"""Ports of `evaluate_models`."""

from typing import List  # noqa: UP035  KFP recognises a list of artifacts by this name

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Markdown, Metrics, Model, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def evaluate_models(
    sequences: Input[Dataset],
    items_model: Input[Model],
    teacher: Input[Model],
    student: Input[Model],
    variants: Input[List[Model]],  # noqa: UP006
    registry: str,
    production: str,
    config: str,
    evaluation: Output[Dataset],
    timings: Output[Dataset],
    metrics: Output[Metrics],
    page: Output[HTML],
    card: Output[Markdown],
) -> None:
    """Rank, compare and time every model on the same test users, and choose the candidate."""
    from components.evaluate_models.step import run

    found = run(
        sequences.path,
        items_model.path,
        teacher.path,
        student.path,
        [variant.path for variant in variants],
        registry,
        production,
        config,
        evaluation.path,
        timings.path,
        metrics.path,
        page.path,
        card.path,
    )
    for output in (evaluation, timings, metrics, page, card):
        output.metadata.update(found)
