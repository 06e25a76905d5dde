"""Ports of `decide_retraining`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def decide_retraining(
    sequences: Input[Dataset],
    verdict: str,
    registry: str,
    code_digest: str,
    settings_digest: str,
    force: bool,
    config: str,
    decision: Output[Dataset],
) -> bool:
    """Say whether this run has a reason to train; the reason is in the decision."""
    from components.decide_retraining.step import run

    decision.metadata.update(
        run(
            sequences.path,
            verdict,
            registry,
            code_digest,
            settings_digest,
            force,
            config,
            decision.path,
        )
    )
    return decision.metadata["retrain"]
