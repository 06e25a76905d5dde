"""Ports of `ingest_interactions`."""

from kfp import dsl
from kfp.dsl import Dataset, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def ingest_interactions(
    interactions: str,
    items: str,
    source_digest: str,
    config: str,
    log: Output[Dataset],
) -> None:
    """Read raw files into the canonical log; bad rows go to the quarantine with a reason."""
    from components.ingest_interactions.step import run

    log.metadata.update(run(interactions, items, source_digest, config, log.path))
