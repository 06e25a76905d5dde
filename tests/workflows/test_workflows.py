"""The workflows and builds: whom they trust, and that the commands in them are commands of ours."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_lines import ROOT, commands_in, complaint, make_targets

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BUILDS = sorted((ROOT / "cloudbuild").glob("*.yaml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
OPTIONAL = {'"${forced[@]}"': "--force --reason asked", '"${drift[@]}"': "--summary summary.json"}
"""Options that a script leaves out where nothing was said."""


def names(path: Path) -> str:
    return path.name


def workflow(path: Path) -> dict[str, Any]:
    # "on" is a truth value in YAML 1.1
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in loaded.items()}


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def scripts(path: Path) -> list[str]:
    """Shell of a workflow, or of a build, where `$$` is a dollar sign."""
    if path in WORKFLOWS:
        return [step["run"] for step in steps(path) if "run" in step]
    inside = yaml.safe_load(path.read_text(encoding="utf-8"))["steps"]
    return [step["args"][1].replace("$$", "$") for step in inside if step["args"][0] == "-euc"]


def with_all_options(script: str) -> str:
    for option, spelled in OPTIONAL.items():
        script = script.replace(option, spelled)
    return script


@pytest.mark.parametrize("path", WORKFLOWS, ids=names)
def test_actions_are_pinned_by_commit(path: Path):
    used = [step["uses"] for step in steps(path) if "uses" in step]

    assert used
    assert [action for action in used if not PINNED.fullmatch(action)] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=names)
def test_workflows_may_read_only_and_jobs_end(path: Path):
    loaded = workflow(path)

    assert loaded["permissions"] == {"contents": "read"}
    assert all(0 < job["timeout-minutes"] <= 60 for job in loaded["jobs"].values())


def test_only_retraining_speaks_for_itself_at_google_and_nothing_holds_a_key():
    asking = [
        path.name
        for path in WORKFLOWS
        for job in workflow(path)["jobs"].values()
        if "id-token" in job.get("permissions", {})
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in [*WORKFLOWS, *BUILDS])

    assert asking == ["retrain.yml"]
    assert "secrets." not in text
    assert "credentials_json" not in text


def test_retraining_starts_by_clock_by_hand_and_by_message():
    on = workflow(ROOT / ".github" / "workflows" / "retrain.yml")["on"]

    assert set(on) == {"schedule", "workflow_dispatch", "repository_dispatch"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=names)
def test_a_job_fails_when_the_first_command_of_a_pipe_does(path: Path):
    # GitHub's own choice of a shell is bash without pipefail; the one that is named has it.
    shell = workflow(path).get("defaults", {}).get("run", {}).get("shell")

    assert (
        shell == "bash" or [text for text in scripts(path) if re.search(r"[^|]\|[^|]", text)] == []
    )


def test_what_decides_in_a_container_is_told_the_project_of_federated_credentials(tmp_path: Path):
    # Nothing in the file that GitHub's credentials are says which project is meant.
    (script,) = (
        text
        for text in scripts(ROOT / ".github" / "workflows" / "retrain.yml")
        if "pipeline trigger" in text
    )
    called = tmp_path / "docker"
    called.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 2\n')
    called.chmod(0o755)
    given = {
        **dict.fromkeys(("IMAGE", "LOCATION", "STAGING", "REGISTRY", "INTERACTIONS"), "x"),
        **{"ITEMS": "", "RUN_AS": "", "FORCE": "true", "REASON": "two words"},
        **{"PROJECT": "shop", "CREDENTIALS": "/c", "GITHUB_STEP_SUMMARY": str(tmp_path / "told")},
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }

    ran = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        env=given,
        capture_output=True,
        text=True,
    )

    words = ran.stdout.splitlines()
    assert words[words.index("GOOGLE_CLOUD_PROJECT=shop") - 1] == "--env"
    assert words[words.index("--items") + 1] == ""
    assert words[-3:] == ["--force", "--reason", "two words"]
    assert ran.returncode == 2


@pytest.mark.parametrize("path", WORKFLOWS, ids=names)
def test_nothing_from_outside_is_pasted_into_a_script(path: Path):
    assert [script for script in scripts(path) if "${{" in script] == []


@pytest.mark.parametrize("path", [*WORKFLOWS, *BUILDS], ids=names)
def test_scripts_are_shell(path: Path):
    for script in scripts(path):
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("path", [*WORKFLOWS, *BUILDS], ids=names)
def test_commands_are_commands_of_this_project(path: Path):
    found = [words for script in scripts(path) for words in commands_in(with_all_options(script))]

    targets = make_targets()
    for words in found:
        if words[0] == "make":
            called = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
            assert set(called) <= targets, words
        else:
            assert complaint(words) == ""
    assert found or (path.name == "ci.yaml" and ".ci/run" in path.read_text(encoding="utf-8"))


def test_steps_of_a_build_that_share_an_environment_come_one_after_the_other_in_one_image():
    loaded = yaml.safe_load((ROOT / "cloudbuild" / "ci.yaml").read_text(encoding="utf-8"))
    using = [one for one in loaded["steps"] if re.search(r"\bmake |\.ci/run", one["args"][-1])]

    assert [one["name"] for one in using] == ["python:3.11"] * 2  # as pyproject.toml wants it
    assert using[1]["waitFor"] == [using[0]["id"]]


def test_setting_up_does_not_get_into_the_name_that_is_printed(tmp_path: Path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    called = tmp_path / ".venv" / "bin" / "python"
    called.parent.mkdir(parents=True)
    called.write_text('#!/bin/sh\ncase "$*" in *build-image*) echo slmrec-python:1-0a;; esac\n')
    called.chmod(0o755)

    made = subprocess.run(
        ["make", "--silent", "images", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert made.returncode == 0, made.stderr
    assert made.stdout == "slmrec-python:1-0a\n"
    assert "setting up" in made.stderr
