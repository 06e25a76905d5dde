"""The image as it is built, and the compiled file run in it, a container a step.

Needs a Docker engine and, in SLMREC_BASE_IMAGE, the name of a base image that is there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.runtime import output_digest
from pipeline.code import code_digest
from slmrec import __version__

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parents[2]
NEVER_CACHED = {"snapshot_source", "decide_retraining", "promote_model"}
TIMED = {
    *("evaluate_models.timings", "evaluate_models.page", "evaluate_models.card"),
    "promote_model.promotion",
}
READ_ONLY = ("--read-only", "--tmpfs", "/tmp", "--network", "none")


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def image(command) -> str:
    """The image of this code, built now."""
    if shutil.which("docker") is None or docker("info").returncode:
        pytest.skip("no Docker engine answers here ('docker info' fails)")
    base = os.environ.get("SLMREC_BASE_IMAGE")
    if not base:
        pytest.skip("SLMREC_BASE_IMAGE does not name a base image like python:3.11-slim")
    if docker("image", "inspect", base).returncode:
        pytest.skip(f"the base image {base} is not here; 'docker pull' it first")
    arguments = ["build-image", "--base-image", base, "--network", "host"]
    built = command(*arguments, timeout=1800)
    assert built.code == 0, built.err
    return built.out.splitlines()[-1]


@pytest.fixture(scope="module")
def inside(image: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a container that may write to /tmp only, without a network."""
    return lambda *arguments: docker("run", "--rm", *READ_ONLY, image, *arguments)


class TestImage:
    def test_name_and_labels_say_which_code_is_in_it(self, image: str) -> None:
        assert image == f"slmrec-python:{__version__}-{code_digest()[:12]}"
        (found,) = json.loads(docker("image", "inspect", image).stdout)
        labels = found["Config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == __version__
        assert labels["org.opencontainers.image.revision"] == code_digest()

    def test_user_is_not_root(self, inside) -> None:
        assert inside("id", "-u").stdout.strip() == "10001"

    def test_doctor_finds_all_that_a_run_needs(self, image: str) -> None:
        told = docker("run", "--rm", *READ_ONLY, image)
        assert told.returncode == 0, told.stdout + told.stderr
        assert "as locked" in told.stdout
        assert "✗" not in told.stdout

    def test_nothing_can_be_compiled_or_tested_in_it(self, inside) -> None:
        for tool in ("cc", "gcc", "g++", "clang", "ruff", "mypy", "pytest", "pip-compile"):
            assert inside("which", tool).returncode, tool
        names = ["pytest", "ruff", "mypy", "playwright", "piptools", "hypothesis", "docker"]
        script = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
        assert inside("python3", "-c", script).stdout.strip() == "[]"

    def test_no_cache_of_pip_stays_in_it(self, inside) -> None:
        found = inside(
            "find", "/", "-path", "/proc", "-prune", "-o", "-path", "*cache/pip", "-print"
        )
        assert found.stdout == ""

    def test_only_the_code_is_copied(self, inside) -> None:
        assert set(inside("ls", "-A", "/app").stdout.split()) == {
            *("components", "pipeline", "src", "validation"),
            *("LICENSE", "README.md", "pipeline.yaml", "pyproject.toml", "requirements.lock"),
        }

    def test_code_in_it_has_the_digest_that_its_name_says(self, inside) -> None:
        script = "from pipeline.code import code_digest; print(code_digest())"
        assert inside("python3", "-c", script).stdout.strip() == code_digest()


@pytest.fixture(scope="module")
def log(command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small log in a folder that is no part of any home."""
    folder = tmp_path_factory.mktemp("data")
    size = ["--users", "300", "--items", "120", "--interactions", "6000", "--seed", "3"]
    made = command("datasets", "sample", *size, "--output", str(folder / "interactions.csv"))
    assert made.code == 0, made.err
    return folder


@pytest.fixture(scope="module")
def run(command, tiny, log: Path):
    def go(home: Path, *more: str):
        return command(
            *("run", "--config", str(ROOT / "pipeline" / "configs" / "sample.yaml")),
            *(
                "--interactions",
                str(log / "interactions.csv"),
                "--items",
                str(log / "interactions-items.csv"),
            ),
            *("--home", str(home), "--json", *tiny, *more),
            *("--set", "evaluate_models.min_overlap=1.0"),  # else the clock chooses the candidate
            OMP_NUM_THREADS="1",
        )

    return go


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="module")
def first(image: str, run, home: Path) -> dict:
    finished = run(home, "--runner", "docker")
    assert finished.code == 0, finished.err
    return finished.summary


def executed(summary: dict) -> set[str]:
    return {step["name"] for step in summary["steps"] if not step["cached"]}


def digests(summary: dict) -> dict[str, str]:
    """Of every output that holds no time."""
    places = {name: Path(path) for name, path in summary["places"].items() if "." in name}
    return {name: output_digest(path) for name, path in places.items() if name not in TIMED}


class TestRun:
    def test_containers_give_the_bytes_that_processes_give(
        self, first: dict, run, tmp_path: Path
    ) -> None:
        finished = run(tmp_path, "--runner", "subprocess")
        assert finished.code == 0, finished.err
        here = finished.summary
        assert executed(first) == executed(here)
        assert len(executed(first)) == 19
        assert len(digests(here)) == 18
        assert digests(first) == digests(here)
        metrics = [
            {m["name"]: m["metrics"] for m in summary["models"]} for summary in (first, here)
        ]
        assert metrics[0] == metrics[1]

    def test_only_uncached_steps_run_when_nothing_changed(
        self, first: dict, run, home: Path
    ) -> None:
        again = run(home, "--runner", "docker", "--force").summary
        assert executed(again) == NEVER_CACHED
        before = digests(first)
        cached = {name for name in before if name.split(".")[0] not in NEVER_CACHED}
        assert {name: digests(again)[name] for name in cached} == {n: before[n] for n in cached}

    def test_files_belong_to_the_caller(self, first: dict, home: Path) -> None:
        owners = {(path.stat().st_uid, path.stat().st_gid) for path in home.rglob("*")}
        assert owners == {(os.getuid(), os.getgid())}

    def test_no_container_stays(self, first: dict) -> None:
        assert docker("ps", "-aq", "--filter", "label=slmrec.run").stdout == ""

    def test_failure_in_a_container_is_one_message_and_its_exit_code(
        self, image: str, command, tmp_path: Path
    ) -> None:
        log = tmp_path / "log.csv"
        log.write_text("name,price\nx,1\n")
        arguments = ["--interactions", str(log), "--home", str(tmp_path / "home")]
        finished = command("run", "--runner", "docker", *arguments)
        assert finished.code == 3, finished.err
        assert finished.err.count("error: ") == 1
        assert "ingest_interactions.columns" in finished.err
        assert "Traceback" not in finished.err

    def test_interrupted_run_leaves_no_container_behind(
        self, image: str, tiny, log: Path, tmp_path: Path
    ) -> None:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pipeline", "run", "--runner", "docker"),
                *("--interactions", str(log / "interactions.csv"), "--home", str(tmp_path)),
                *("--config", "pipeline/configs/sample.yaml", *tiny),
                *("--set", "train_teacher.training.epochs=99"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and process.poll() is None:
            if list(tmp_path.glob("checkpoints/*/train_teacher-*/epoch-*/manifest.json")):
                break
            time.sleep(0.2)
        (run_folder,) = tmp_path.glob("runs/*")
        named = ("ps", "-aq", "--filter", f"label=slmrec.run={run_folder.name}")
        assert docker(*named).stdout.strip()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 130, out
        assert docker(*named).stdout == ""
