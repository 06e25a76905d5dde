"""Ports of `snapshot_source`."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def snapshot_source(interactions: str, items: str) -> str:
    """Give the digest of the input bytes, on which every later step's cache hangs."""
    from components.snapshot_source.step import run

    return run(interactions, items)["digest"]
