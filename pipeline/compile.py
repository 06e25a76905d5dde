"""Compile the DAG; the same DAG gives the same bytes."""

import tempfile
from pathlib import Path

from kfp import compiler

from pipeline.dag import slmrec_pipeline


def compile_pipeline() -> str:
    """The compiled pipeline: one YAML document."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(slmrec_pipeline, str(path))
        return path.read_text(encoding="utf-8")
