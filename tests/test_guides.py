"""Texts: every command of this project in them is one; guides: their files are what is read."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.parameters import SAMPLE
from pipeline.paths import CONFIGS, PIPELINE_FILE
from pipeline.submission.bundle import make_bundle, steps
from pipeline.submission.deployment import load_deployment, platform_document
from slmrec.config_file import load_config
from slmrec.storage.object_store import KEY, SECRET, ObjectStore
from tests.command_lines import commands_in, complaint, make_targets
from tests.docs.texts import GUIDES, ROOT, TEXTS, code_in, names, without_blocks

COMMANDED = [path for path in TEXTS if path.name != "CHANGELOG.md"]
"""The changelog tells how commands are built, and of those that are gone."""
INLINE = re.compile(r"`((?:\S*python3? -m pipeline|make) [^`]+)`")


def kubernetes_files(path: Path) -> list[dict[str, Any]]:
    return [
        document
        for text in code_in(path, "yaml")
        for document in yaml.safe_load_all(text)
        if "apiVersion" in document
    ]


def commands_of(path: Path) -> list[list[str]]:
    """Commands that a reader copies: those in blocks."""
    return [words for code in code_in(path, "bash", "") for words in commands_in(code)]


def commands_named(path: Path) -> list[list[str]]:
    """Commands that a sentence names."""
    found = INLINE.findall(without_blocks(path))
    return [words for code in found for words in commands_in(code) if words != ["VERB"]]


def wrong(words: list[str], *, named: bool) -> str:
    """What is wrong with a command; empty where nothing is."""
    if words[0] != "make":
        return complaint(words, named=named)
    called = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
    return ", ".join(sorted(called - make_targets()))


@pytest.mark.parametrize("path", COMMANDED, ids=names)
def test_every_command_in_a_text_is_one_of_the_command_line(path: Path):
    copied = commands_of(path)

    assert copied or path.parent != ROOT / "docs" / "guides"
    assert [words for words in copied if wrong(words, named=path not in GUIDES)] == []
    assert [words for words in commands_named(path) if wrong(words, named=True)] == []


def settings_of(path: Path) -> list[tuple[str, list[str]]]:
    """What the commands and sentences of a text set, and the settings file that they set it in."""
    found = []
    for words in commands_of(path):
        given = [value for option, value in pairwise(words) if option == "--set"]
        log = next(
            (value for option, value in pairwise(words) if option == "--interactions"), SAMPLE
        )
        usual = "study.yaml" if words[0] == "study" else "default.yaml"
        if given and "--config" not in words:
            found.append(("sample.yaml" if log.startswith(SAMPLE) else usual, given))
    named = re.findall(r"`--set ([^`]+)`", without_blocks(path))
    found += [("default.yaml", [setting.strip("'\"")]) for setting in named]
    return [
        (file, given) for file, given in found if not re.search(r"…|\$|\b[A-Z]{3,}\b", str(given))
    ]


SETTING = [
    path
    for path in COMMANDED
    # What the worked examples set is there once they are applied; their own test does so.
    if path.parent.name != "extending" and settings_of(path)
]


@pytest.mark.parametrize("path", SETTING, ids=names)
def test_every_setting_on_a_command_line_is_accepted(path: Path):
    for file, given in settings_of(path):
        load_config(CONFIGS / file, given)


def test_a_command_that_is_none_is_noticed():
    assert "no such verb" in complaint(["retrain", "--now"])
    assert "--imaginary" in complaint(["run", "--imaginary"])
    assert complaint(["run", "--set", "train_teacher.layers=4"]) == ""


def test_the_deployment_file_of_the_guide_is_one(tmp_path: Path):
    (text,) = (
        text for text in code_in(ROOT / "docs/guides/kubeflow.md", "yaml") if "image_pull" in text
    )
    file = tmp_path / "deployment.yaml"
    file.write_text(text, encoding="utf-8")
    known = steps(make_bundle(PIPELINE_FILE.read_text(encoding="utf-8"), {}).spec)

    document = platform_document(load_deployment(file, known), known)

    executors = document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(known)
    assert executors["exec-train-teacher"]["nodeSelector"]["labels"] == {"pool": "gpu"}


def test_pods_of_the_guide_run_commands_of_ours_on_a_volume_that_is_there():
    documents = kubernetes_files(ROOT / "docs/guides/kubeflow.md")
    claims = {one["metadata"]["name"] for one in documents if "Claim" in one["kind"]}
    pods = [
        one["spec"]["template"]["spec"]
        if one["kind"] == "Deployment"
        else one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        for one in documents
        if one["kind"] in ("Deployment", "CronJob")
    ]

    assert len(pods) == 2
    for pod in pods:
        (container,) = pod["containers"]
        assert container["command"][:3] == ["python3", "-m", "pipeline"]
        assert complaint(container["command"][3:]) == ""
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["slmrec"]["persistentVolumeClaim"]["claimName"] in claims
        assert pod["securityContext"]["runAsNonRoot"] is True


def test_the_pod_that_fetches_has_what_the_clusters_store_asks_for():
    documents = kubernetes_files(ROOT / "docs/guides/kubeflow.md")
    (job,) = (one for one in documents if one["kind"] == "CronJob")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    values = {one["name"]: one.get("value") for one in container["env"]}
    secrets = {
        one["name"]: one["valueFrom"]["secretKeyRef"]
        for one in container["env"]
        if "valueFrom" in one
    }

    ObjectStore(values["AWS_ENDPOINT_URL"], {}).address("minio://mlpipeline/v2/artifacts/x")
    assert secrets[KEY] == {"name": "mlpipeline-minio-artifact", "key": "accesskey"}
    assert secrets[SECRET] == {"name": "mlpipeline-minio-artifact", "key": "secretkey"}


def test_what_fetches_asks_an_address_that_leads_to_ml_metadata():
    # The pages of Kubeflow Pipelines do, its API alone does not; before 3.0 fetch needs both.
    text = (ROOT / "docs/guides/kubeflow.md").read_text(encoding="utf-8")
    (version,) = re.findall(r"KFP_VERSION=(\d+)", text)
    (job,) = (
        one
        for one in kubernetes_files(ROOT / "docs/guides/kubeflow.md")
        if one["kind"] == "CronJob"
    )
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (address,) = (word for word in container["command"] if "ml-pipeline" in word)

    assert int(version) < 3
    assert address == "http://ml-pipeline-ui.kubeflow"
    assert "port-forward svc/ml-pipeline-ui 8080:80" in text
    assert "KF_PIPELINES_ENDPOINT=http://127.0.0.1:8080" in text


def test_a_home_in_a_bucket_lets_folders_be_renamed_by_the_images_user():
    text = (ROOT / "docs/guides/vertex.md").read_text(encoding="utf-8")
    (options,) = re.findall(r'export MOUNT="([^"]+)"', text)
    image = (ROOT / "containers" / "Dockerfile").read_text(encoding="utf-8")
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", image, flags=re.MULTILINE)[0]
    told = dict(option.split("=") for option in options.split(";"))

    assert (told["uid"], told["gid"]) == (user, group)
    assert int(told["rename-dir-limit"]) > 0
    assert text.count("mount-options=$MOUNT") == text.count("type=cloud-storage") == 2


def test_containers_on_cloud_run_run_commands_of_ours():
    text = (ROOT / "docs/guides/vertex.md").read_text(encoding="utf-8")
    given = re.findall(r'--args="([^"]+)"', text)

    assert len(given) == 2
    for arguments in given:
        assert arguments.startswith("-m,pipeline,")
        assert complaint(arguments.split(",")[2:]) == ""
