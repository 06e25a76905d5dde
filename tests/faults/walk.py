"""The whole DAG in Kubeflow's own engine with steps that do nothing: for the keys that it asks by."""

import builtins
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kfp.local import cache, status, subprocess_task_handler

from components.runtime import output_digest
from pipeline.home import Home
from pipeline.local import run_pipeline
from pipeline.parameters import chosen_settings, config_parameters
from pipeline.runners import Subprocesses
from slmrec.artifacts import digest_text, publish, write_json
from slmrec.data.source import snapshot

Keys = dict[str, set[str]]
"""Of each component the keys under which its results are looked up."""


@contextmanager
def steps_that_do_nothing() -> Iterator[tuple[Keys, set[str]]]:
    """Has every task write outputs that depend on its inputs alone.

    Gives the keys that are asked and the steps that are executed.
    """
    asked: Keys = {}
    executed: set[str] = set()
    compute_key = cache.LocalCache.compute_key

    def compute_and_note(self: cache.LocalCache, component_name: str, *rest: Any, **named: Any):
        key = compute_key(self, component_name, *rest, **named)
        name = component_name.removeprefix("comp-").replace("-", "_")
        asked.setdefault(name, set()).add(key)
        return key

    def pretend(self: subprocess_task_handler.SubprocessTaskHandler) -> status.Status:
        executed.add(_pretend(self.full_command))
        return status.Status.SUCCESS

    logger = logging.getLogger()
    with pytest.MonkeyPatch.context() as patched:
        # KFP leaves both as the last of its parallel tasks has set them.
        patched.setattr(builtins, "print", builtins.print)
        patched.setattr(logger, "handlers", list(logger.handlers))
        patched.setattr(cache.LocalCache, "compute_key", compute_and_note)
        patched.setattr(subprocess_task_handler.SubprocessTaskHandler, "run", pretend)
        yield asked, executed


def walk(
    home: Path, source: str, overrides: list[str], image: str = "", digest: str = ""
) -> tuple[Keys, set[str]]:
    """Walk the DAG; the keys that were asked, and the steps that were not taken from the cache."""
    settings = chosen_settings(source, None, overrides)
    parameters = {"interactions": source, "items": "", "force": True, **config_parameters(settings)}
    runner = Subprocesses()
    runner.image = image or runner.image
    runner.code_digest = digest or runner.code_digest
    with steps_that_do_nothing() as found:
        run_pipeline(Home(home), parameters, lambda event: None, runner=runner)
    return found


def _pretend(command: list[str]) -> str:
    """Write what a task's command would; gives the step's name."""
    given = json.loads(command[command.index("--executor_input") + 1])
    step = command[command.index("--function_to_execute") + 1]
    inputs = given.get("inputs", {})
    values = inputs.get("parameterValues", {})
    outputs = given["outputs"]
    known = digest_text(json.dumps(inputs, sort_keys=True))
    answers = {
        "digest": snapshot(values["interactions"], values["items"])
        if step == "snapshot_source"
        else "",
        "Output": step == "decide_retraining" or "stable",
    }
    artifacts = {}
    for port, listed in outputs.get("artifacts", {}).items():
        place = Path(listed["artifacts"][0]["uri"])
        with publish(place, port) as staging:
            write_json(staging / "inputs.json", known)
        metadata = {"step": step, "digests": {port: output_digest(place)}}
        artifacts[port] = {"artifacts": [{**listed["artifacts"][0], "metadata": metadata}]}
    answer = {
        "parameterValues": {port: answers.get(port, "") for port in outputs.get("parameters", {})},
        "artifacts": artifacts,
    }
    place = Path(outputs["outputFile"])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(answer), encoding="utf-8")
    return step
