"""What is for Kubernetes only: read strictly, and the same as the compiler would write."""

import json
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl, kubernetes

from pipeline.paths import PIPELINE_FILE
from pipeline.submission.bundle import steps
from pipeline.submission.deployment import load_deployment, platform_document
from slmrec.errors import ConfigError
from slmrec.yaml_text import read_yaml
from tests.pipeline.submission.calls import RUN, call
from tests.pipeline.submission.kubeflow import Kubeflow

STEPS = steps(read_yaml(PIPELINE_FILE, "pipeline"))
PODS = """
all:
  secrets: [{name: storage, env: {key: STORAGE_KEY}}]
  image_pull_secrets: [registry]
  node_selector: {pool: any}
  timeout_seconds: 3600
steps:
  train_teacher:
    secrets: [{name: tracker, env: {token: TRACKER_TOKEN}, optional: true}]
    tolerations: [{key: gpu, operator: Exists, effect: NoExecute, seconds: 60}]
    node_selector: {pool: gpu}
    volumes: [{claim: data, path: /data, sub_path: shop}]
    security: {run_as_user: 1000, run_as_non_root: true}
    timeout_seconds: 7200
"""


@pytest.fixture
def pods(tmp_path: Path) -> Path:
    path = tmp_path / "pods.yaml"
    path.write_text(PODS, encoding="utf-8")
    return path


@dsl.component(base_image="any")
def train_teacher() -> None:
    """Stand in for the step of that name."""


@dsl.pipeline(name="one-step")
def one_step() -> None:
    """Give the step the settings of `PODS` with the calls that KFP has for them."""
    task = train_teacher()
    kubernetes.use_secret_as_env(task, "storage", {"key": "STORAGE_KEY"})
    kubernetes.use_secret_as_env(task, "tracker", {"token": "TRACKER_TOKEN"}, optional=True)
    kubernetes.set_image_pull_secrets(task, ["registry"])
    kubernetes.add_toleration(
        task, key="gpu", operator="Exists", effect="NoExecute", toleration_seconds=60
    )
    kubernetes.add_node_selector(task, "pool", "gpu")
    kubernetes.mount_pvc(task, "data", "/data", "shop")
    kubernetes.set_security_context(task, run_as_user=1000, run_as_non_root=True)
    kubernetes.set_timeout(task, 7200)


def test_a_steps_settings_are_what_the_compiler_writes(pods: Path, tmp_path: Path) -> None:
    compiler.Compiler().compile(one_step, str(tmp_path / "one.yaml"))
    _, expected = yaml.safe_load_all((tmp_path / "one.yaml").read_text(encoding="utf-8"))
    found = platform_document(load_deployment(pods, STEPS), ["train_teacher"])
    assert found == expected


def test_every_step_has_what_all_have(pods: Path) -> None:
    document = platform_document(load_deployment(pods, STEPS), STEPS)
    executors = document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    compiled = yaml.safe_load(PIPELINE_FILE.read_text(encoding="utf-8"))
    assert set(executors) == set(compiled["deploymentSpec"]["executors"])
    other = executors["exec-distill-student"]
    assert other["nodeSelector"] == {"labels": {"pool": "any"}}
    assert set(other) == {"secretAsEnv", "imagePullSecret", "nodeSelector", "activeDeadlineSeconds"}


def test_the_upload_has_two_documents_and_the_committed_file_one(
    kubeflow: Kubeflow, pods: Path
) -> None:
    at = ("--target", "kfp", "--host", kubeflow.url)
    made = json.loads(call("submit", *at, *RUN, "--deployment", str(pods), "--json"))
    plain = json.loads(call("submit", *at, *RUN, "--json"))
    assert made["version"] != plain["version"]
    first, second = yaml.safe_load_all(kubeflow.documents[made["version"]])
    assert first == yaml.safe_load(kubeflow.documents[plain["version"]])
    assert list(second) == ["platforms"]
    assert len(list(yaml.safe_load_all(PIPELINE_FILE.read_text(encoding="utf-8")))) == 1


def test_nothing_is_added_when_the_file_asks_for_nothing(pods: Path) -> None:
    pods.write_text("steps: {train_teacher: {security: {}}}\n", encoding="utf-8")
    assert platform_document(load_deployment(pods, STEPS), STEPS) == {}
    pods.write_text("", encoding="utf-8")
    assert platform_document(load_deployment(pods, STEPS), STEPS) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("every: {}", r"every: unknown key; .*allowed here: all, steps"),
        (
            "steps: {train_teachr: {}}",
            r"steps\.train_teachr: no such step; did you mean 'train_teac",
        ),
        (
            "steps: {train_teacher: {volume: []}}",
            r"train_teacher: volume: .*did you mean 'volumes'",
        ),
        ("steps: {train_teacher: }", r"steps\.train_teacher: \(whole configuration\): found None"),
        ("all: {volumes: [{claim: a, path: data}]}", r"all\.volumes\.0\.path: found 'data'"),
        ("all: {secrets: [{name: a, env: {k: 1A}}]}", r"all\.secrets\.0\.env\.k: found '1A'"),
        ("all: {secrets: [{name: a, env: {}}]}", r"all\.secrets\.0\.env: found {}"),
        ("all: {timeout_seconds: 0}", r"all\.timeout_seconds: found 0; .*greater than 0"),
        ("all: {security: {run_as_user: -1}}", r"all\.security\.run_as_user: found -1"),
        (
            "all: {tolerations: [{operator: exists}]}",
            r"all\.tolerations\.0\.operator: found 'exists",
        ),
        ("all: [", "not valid YAML"),
    ],
)
def test_a_file_is_refused_when_a_field_is_wrong(pods: Path, text: str, message: str) -> None:
    pods.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_deployment(pods, STEPS)
