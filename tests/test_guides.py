"""Texts: every command of this project in them is one; guides: their files are what is read."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.paths import PIPELINE_FILE
from pipeline.submission.bundle import make_bundle, steps
from pipeline.submission.deployment import load_deployment, platform_document
from slmrec.storage.object_store import KEY, SECRET, ObjectStore
from tests.command_lines import ROOT, commands_in, complaint, make_targets

TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:\S*python3? -m pipeline|make) [^`]+)`")


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    found = BLOCK.findall(path.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


def kubernetes_files(path: Path) -> list[dict[str, Any]]:
    return [
        document
        for text in blocks(path, "yaml")
        for document in yaml.safe_load_all(text)
        if "apiVersion" in document
    ]


def every_command(path: Path) -> list[list[str]]:
    text = path.read_text(encoding="utf-8")
    scripts = [*blocks(path, "bash"), *blocks(path, ""), *INLINE.findall(BLOCK.sub("", text))]
    return [words for script in scripts for words in commands_in(script)]


@pytest.mark.parametrize("path", GUIDES, ids=names)
def test_a_guide_is_shell_that_bash_reads(path: Path):
    for script in blocks(path, "bash"):
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", TEXTS, ids=names)
def test_every_command_in_a_text_is_one_of_the_command_line(path: Path):
    found = every_command(path)

    assert len(found) > 5 or path not in GUIDES
    for words in found:
        if words[0] == "make":
            called = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert set(called) <= make_targets(), words
        else:
            assert complaint(words, named=path not in GUIDES) == ""


def test_a_command_that_is_none_is_noticed():
    assert "no such verb" in complaint(["retrain", "--now"])
    assert "--imaginary" in complaint(["run", "--imaginary"])
    assert complaint(["run", "--set", "train_teacher.layers=4"]) == ""


def test_the_deployment_file_of_the_guide_is_one(tmp_path: Path):
    (text,) = (
        text for text in blocks(ROOT / "docs/guides/kubeflow.md", "yaml") if "image_pull" in text
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


LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.parametrize("path", TEXTS, ids=names)
def test_links_between_texts_lead_somewhere(path: Path):
    found = LINK.findall(BLOCK.sub("", path.read_text(encoding="utf-8")))

    assert [link for link in found if not (path.parent / link).exists()] == []
