"""Ports of `monitor_drift`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from components import images


@dsl.component(base_image=images.PYTHON, install_kfp_package=False)
def monitor_drift(
    sequences: Input[Dataset], registry: str, serving: str, config: str, report: Output[Dataset]
) -> str:
    """Compare the newest window with the past; gives stable, watch, drift or not enough data."""
    from components.monitor_drift.step import run

    report.metadata.update(run(sequences.path, registry, serving, config, report.path))
    return report.metadata["verdict"]
