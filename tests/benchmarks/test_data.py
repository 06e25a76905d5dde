"""Benchmarks are not run here, but what they call has to be there."""

import ast
import importlib
import inspect
import runpy

from pipeline.paths import ROOT


def test_the_steps_that_are_timed_take_what_they_are_given() -> None:
    calls = runpy.run_path(str(ROOT / "benchmarks" / "data.py"))["STEPS"]

    assert len(calls) == 4
    for name, call in calls.items():
        filled = call.format(source="log.csv", home="home", digest="0" * 64)
        parsed = ast.parse(filled, mode="eval").body
        assert isinstance(parsed, ast.Call)
        step = importlib.import_module(f"components.{name}.step").run
        inspect.signature(step).bind(None, *parsed.args)  # None for the progress
