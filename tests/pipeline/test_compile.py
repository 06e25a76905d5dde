import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import components

from components import images
from pipeline.parameters import config_parameters, defaults
from pipeline.paths import CONFIGS, PIPELINE_FILE, ROOT
from pipeline.resources import load_resources, step_names
from pipeline.submission.bundle import make_bundle
from slmrec.config import TrainTeacher, Variant
from slmrec.config_file import load_config

NEVER_CACHED = {"snapshot-source", "decide-retraining", "promote-model"}


@pytest.fixture(scope="module")
def compiled() -> dict:
    documents = list(yaml.safe_load_all(PIPELINE_FILE.read_text(encoding="utf-8")))
    assert len(documents) == 1, "Vertex refuses a file of several documents"
    return documents[0]


def tasks(spec: dict) -> dict[str, dict]:
    found = dict(spec["root"]["dag"]["tasks"])
    for component in spec["components"].values():
        found |= component.get("dag", {}).get("tasks", {})
    return found


def test_check_fails_when_the_file_is_stale(tmp_path: Path) -> None:
    stale = tmp_path / "pipeline.yaml"
    stale.write_text(PIPELINE_FILE.read_text() + "# edited\n")
    finished = subprocess.run(
        [sys.executable, "-m", "pipeline", "compile", "--check", "--output", str(stale)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert "stale; run 'make compile'" in finished.stderr


def test_compiling_does_not_load_torch() -> None:
    code = "import sys, pipeline.compile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_every_executor_uses_the_one_image_and_installs_nothing(compiled: dict) -> None:
    executors = compiled["deploymentSpec"]["executors"]
    assert len(executors) == len(step_names())
    for executor in executors.values():
        container = executor["container"]
        assert container["image"] == images.PYTHON
        started = " ".join([*container["command"], *container.get("args", [])])
        assert not re.search(r"\bpip\b|ensurepip|easy_install|\buv\b|apt(-get)?\b", started)


def test_every_executor_can_be_pinned_by_a_digest(compiled: dict) -> None:
    pinned = f"ghcr.io/shop/slmrec@sha256:{'0a' * 32}"
    document = make_bundle(PIPELINE_FILE.read_text(encoding="utf-8"), defaults(), pinned).document
    executors = yaml.safe_load(document)["deploymentSpec"]["executors"]
    assert [one["container"]["image"] for one in executors.values()] == [pinned] * len(executors)
    assert document.count(pinned) == len(executors)  # and stands nowhere else


def test_file_holds_nothing_of_the_machine_that_compiled_it(tmp_path: Path, compiled: dict) -> None:
    text = PIPELINE_FILE.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text
    # Another user in another folder with another environment compiles the same bytes.
    for name in ("components", "pipeline", "validation", "src"):
        shutil.copytree(ROOT / name, tmp_path / "elsewhere" / name)
    out = tmp_path / "again.yaml"
    strange = {
        "HOME": str(tmp_path),
        "USER": "somebody-else",
        "LANG": "C",
        "TZ": "Asia/Kathmandu",
        "PYTHONPATH": f"{tmp_path}/elsewhere/src:{tmp_path}/elsewhere",
        "PYTHONHASHSEED": "7",
        "SLMREC_PROCESSES": "7",
        "SLMREC_TIMEOUT_MINUTES": "7",
        "KFP_POD_NAME": "somebodys-pod",
        "PIP_INDEX_URL": "https://packages.example",
        "PIP_TRUSTED_HOST": "packages.example",
        "HTTPS_PROXY": "http://proxy.example",
    }
    subprocess.run(
        [sys.executable, "-m", "pipeline", "compile", "--output", str(out)],
        cwd=tmp_path / "elsewhere",
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], **strange},
    )
    assert out.read_bytes() == PIPELINE_FILE.read_bytes()


def test_file_loads_in_the_kfp_client(compiled: dict) -> None:
    loaded = components.load_component_from_file(str(PIPELINE_FILE))
    assert loaded.name == "slmrec"
    assert set(loaded.component_spec.inputs) == set(defaults())


def test_caching_is_off_exactly_where_the_outside_world_is_read(compiled: dict) -> None:
    leaves = {
        name: task
        for name, task in tasks(compiled).items()
        if "executorLabel" in compiled["components"][task["componentRef"]["name"]]
    }
    uncached = {n for n, t in leaves.items() if not t["cachingOptions"].get("enableCache")}
    assert uncached == NEVER_CACHED
    assert len(leaves) == len(step_names())


def test_every_task_has_the_limits_of_its_step_and_is_begun_again_only_where_that_is_harmless(
    compiled: dict,
) -> None:
    allowed = load_resources()
    leaves = {
        name: task for name, task in tasks(compiled).items() if name != "compress-and-promote"
    }
    steps = {
        name: task for name, task in leaves.items() if not name.startswith(("for-", "condition"))
    }
    assert {name.replace("-", "_") for name in steps} == set(allowed.names())
    executors = compiled["deploymentSpec"]["executors"]
    for name, task in steps.items():
        limits = allowed.of(name)
        container = executors[f"exec-{name}"]["container"]
        found = container["resources"]
        assert container["env"] == [
            {"name": "SLMREC_TIMEOUT_MINUTES", "value": str(limits.timeout_minutes)}
        ]
        assert limits.timeout_minutes > 0
        assert float(found["resourceCpuLimit"]) == limits.cpu > 0
        assert found["resourceMemoryLimit"] == f"{limits.memory_gb:g}G"
        assert task.get("retryPolicy", {}).get("maxRetryCount", 0) == limits.retries
    begun_again = {name for name, task in steps.items() if "retryPolicy" in task}
    assert begun_again == set(steps) - {"promote-model"}  # which moves what serves


def test_training_hangs_on_the_decision_alone(compiled: dict) -> None:
    conditions = [
        task["triggerPolicy"]["condition"]
        for task in tasks(compiled).values()
        if "triggerPolicy" in task
    ]
    assert conditions == [
        "inputs.parameter_values['pipelinechannel--decide-retraining-Output'] == true"
    ]


def test_defaults_are_the_sample_and_hold_no_number_that_kfp_would_turn_into_a_float(
    compiled: dict,
) -> None:
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    found = {name: value.get("defaultValue") for name, value in parameters.items()}
    expected = defaults()
    assert found == expected
    for value in found.values():
        members = value if isinstance(value, list) else [value]
        assert all(isinstance(member, str | bool) for member in members)


def test_parameters_carry_each_section_as_text_a_step_can_read_back() -> None:
    config = load_config(
        CONFIGS / "sample.yaml", ["train_teacher.layers=10", "cache_teacher.shards=3"]
    )
    parameters = config_parameters(config)
    assert TrainTeacher.from_json(parameters["train_teacher_config"]).layers == 10
    assert parameters["shards"] == ["0/3", "1/3", "2/3"]
    assert [Variant.from_json(text).name for text in parameters["variants"]] == [
        "float32",
        "int8",
        "pruned-int8",
    ]
