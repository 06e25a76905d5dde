"""What a study is asked to do, as the command line hands it to the process that does it."""

from pathlib import Path
from typing import Literal

from slmrec.config import PipelineConfig, Positive, Section

Name = Literal["depth", "ablation", "certificate", "distillation", "compression"]


class Job(Section):
    """One study: its data, its settings, and where everything goes."""

    study: Name
    data: str
    """How the page calls the log."""
    sequences: Path
    """A sequences artifact."""
    output: Path
    """Folder of `README.md`, `results.json` and `figure.svg`."""
    work: Path
    """Folder of finished trainings, which are not repeated."""
    events: Path
    """File that the progress is told to."""
    config: PipelineConfig
    settings_digest: str
    command: str
    """What reproduces the study."""
    seeds: Positive
    """Trainings of each variant, with the configured seed and those after it."""
    depths: tuple[Positive, ...] = ()
    """Of the study `depth`: two or more numbers of layers, ascending."""
    variants: tuple[str, ...] = ()
    """Of the study `ablation`: names in `slmrec.studies.variants.VARIANTS`."""
