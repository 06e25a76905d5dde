"""Ports of `snapshot_source`."""

from typing import NamedTuple

from kfp import dsl

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def snapshot_source(
    interactions: str, items: str, registry: str, started: str, monitor_drift_config: str
) -> NamedTuple(
    "Snapshot",
    [
        ("digest", str),
        ("previous", str),
        ("production", str),
        ("serving", str),
        ("started", str),
    ],
):  # type: ignore[valid-type]
    """Say what a run reads from outside: on that every later step's cache hangs."""
    from components.snapshot_source.step import run

    found = run(interactions, items, registry, started, monitor_drift_config)
    return (
        found["digest"],
        found["previous"],
        found["production"],
        found["serving"],
        found["started"],
    )
