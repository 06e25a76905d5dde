"""What containers are given, said without an engine; tests/containers has one."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from pipeline import containers
from pipeline.cli import app
from pipeline.code import code_digest, image_name
from pipeline.containers import DIGEST_LABEL, Containers
from pipeline.home import Home
from pipeline.parameters import config_parameters
from pipeline.paths import CONFIGS, ROOT
from slmrec.config_file import load_config
from slmrec.errors import ConfigError

docker = pytest.importorskip("docker")


class Engine:
    """An engine with one image."""

    def __init__(self, name: str, labels: dict[str, str], variables: list[str] | None) -> None:
        attributes = {"Config": {"Env": variables}}
        self._image = SimpleNamespace(labels=labels, attrs=attributes, id="sha256:" + 64 * "a")
        self._name = name
        self.images = self

    def get(self, name: str) -> SimpleNamespace:
        if name != self._name:
            raise docker.errors.ImageNotFound("no such image")
        return self._image

    def pull(self, name: str) -> SimpleNamespace:
        raise docker.errors.APIError("no route to it")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch):
    def install(name: str, labels: dict[str, str], variables: list[str] | None = None) -> None:
        @contextmanager
        def answer():
            yield Engine(name, labels, variables)

        monkeypatch.setattr(containers, "_engine", answer)

    return install


@pytest.fixture
def arguments(engine, tmp_path: Path):
    """What the engine is asked for, beside image and command."""

    def ask(*, settings: tuple[str, ...] = (), variables: list[str] | None = None, **more: str):
        engine("ours", {DIGEST_LABEL: "code"}, variables)
        config = config_parameters(load_config(CONFIGS / "sample.yaml", settings))
        parameters = {"interactions": "sample:", "items": "", **config, **more}
        home = Home(tmp_path / "home", more.get("registry", ""))
        return Containers("ours").start(home, "r", parameters, {"A": "1"}).container_run_args

    return ask


def mounted(arguments: dict, *, read_only: bool) -> set[str]:
    mounts = [mount for mount in arguments["mounts"] if mount["ReadOnly"] is read_only]
    assert all(mount["Source"] == str(Path(mount["Target"]).resolve()) for mount in mounts)
    return {mount["Target"] for mount in mounts}


class TestImage:
    def test_image_of_this_code_is_taken_when_none_is_named(self, engine) -> None:
        engine(image_name(code_digest()), {DIGEST_LABEL: code_digest()})
        steps = Containers()
        assert (steps.image, steps.code_digest) == (image_name(code_digest()), code_digest())
        home = Home(Path("home"))
        assert steps.task_cache(home) == home.task_cache

    def test_named_image_says_its_own_code_and_has_its_own_cache(self, engine) -> None:
        engine("other:1", {DIGEST_LABEL: "0123"})
        steps = Containers("other:1")
        assert (steps.image, steps.code_digest) == ("other:1", "0123")
        assert steps.task_cache(Home(Path("home"))) == Path("home/cache/tasks") / (12 * "a")

    def test_what_to_do_is_said_when_there_is_no_image(self, engine) -> None:
        engine("other:1", {})
        with pytest.raises(ConfigError, match="no such image here; run 'make images'"):
            Containers()

    def test_image_that_cannot_be_pulled_is_refused(self, engine) -> None:
        engine("other:1", {})
        with pytest.raises(ConfigError, match="far:1: no such image here, and it cannot be pulled"):
            Containers("far:1")

    def test_image_of_something_else_is_refused(self, engine) -> None:
        engine("debian:12", {})
        with pytest.raises(ConfigError, match="debian:12: no label"):
            Containers("debian:12")

    def test_one_sentence_says_so_when_no_engine_answers(self, tmp_path: Path) -> None:
        home = tmp_path / "home"
        finished = subprocess.run(
            [sys.executable, "-m", "pipeline", "run", "--runner", "docker", "--home", str(home)],
            cwd=ROOT,
            env=os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/absent.sock"},
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 2
        assert finished.stderr.startswith("error: no Docker engine answers")
        assert finished.stderr.count("\n") == 1
        assert not home.exists()

    def test_image_is_refused_when_steps_are_processes(self) -> None:
        result = CliRunner().invoke(app, ["run", "--image", "other:1"])
        assert isinstance(result.exception, ConfigError)
        assert "add --runner docker" in str(result.exception)

    def test_one_sentence_says_so_when_images_cannot_be_built(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        result = CliRunner().invoke(app, ["build-image"])
        assert isinstance(result.exception, ConfigError)
        assert "docker is not installed here" in str(result.exception)

    @pytest.mark.parametrize("index", ["", "https://user:secret@packages.example/simple"])
    def test_pip_looks_in_the_build_where_it_looks_here(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: str
    ) -> None:
        docker = tmp_path / "docker"
        told = tmp_path / "told"
        docker.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "index $PIP_EXTRA_INDEX_URL" > {told}\n')
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index)
        command = [sys.executable, "-m", "pipeline", "build-image"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        *arguments, seen = told.read_text().splitlines()
        assert ("--build-arg=PIP_EXTRA_INDEX_URL" in arguments) == bool(index)
        assert "secret" not in " ".join(arguments) + done.stdout + done.stderr
        assert seen == f"index {index}"


class TestWhatAContainerSees:
    def test_home_and_nothing_else_when_the_data_is_made_up(
        self, arguments, tmp_path: Path
    ) -> None:
        asked = arguments()
        assert mounted(asked, read_only=False) == {str(tmp_path / "home")}
        assert mounted(asked, read_only=True) == set()
        assert asked["network_mode"] == "none"
        assert asked["read_only"] is True
        assert asked["environment"]["A"] == "1"
        assert asked["labels"] == {"slmrec.run": "r"}
        assert "device_requests" not in asked

    def test_sources_checkpoint_and_lists_cannot_be_written_to(
        self, arguments, tmp_path: Path
    ) -> None:
        (tmp_path / "log").mkdir()
        (tmp_path / "blob").write_text("x")
        (tmp_path / "log" / "part.csv").symlink_to(tmp_path / "blob")
        (tmp_path / "items.csv").write_text("x")
        (tmp_path / "llama").mkdir()
        (tmp_path / "lists.parquet").write_text("x")
        asked = arguments(
            interactions=str(tmp_path / "log"),
            items=str(tmp_path / "items.csv"),
            settings=(
                f"train_teacher.pretrained.checkpoint={tmp_path}/llama",
                f"monitor_drift.recommendations={tmp_path}/lists.parquet",
            ),
        )
        names = ("log", "blob", "items.csv", "llama", "lists.parquet")
        assert mounted(asked, read_only=True) == {str(tmp_path / name) for name in names}
        assert asked["network_mode"] == "none"

    def test_folder_above_a_glob_is_seen(self, arguments, tmp_path: Path) -> None:
        (tmp_path / "logs").mkdir()
        asked = arguments(interactions=str(tmp_path / "logs" / "*" / "part-[0-9].csv"))
        assert mounted(asked, read_only=True) == {str(tmp_path / "logs")}

    def test_registry_elsewhere_on_this_machine_can_be_written_to(
        self, arguments, tmp_path: Path
    ) -> None:
        asked = arguments(registry=str(tmp_path / "shared"))
        places = {str(tmp_path / "home"), str(tmp_path / "shared")}
        assert mounted(asked, read_only=False) == places
        assert (tmp_path / "shared").is_dir()  # the engine would make it root's

    @pytest.mark.parametrize(
        "named",
        [
            {"interactions": "gs://bucket/log.csv"},
            {"registry": "gs://bucket/registry"},
            {"settings": ("train_teacher.pretrained.checkpoint=owner/name",)},
        ],
    )
    def test_network_is_there_only_when_something_lies_elsewhere(
        self, arguments, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: dict
    ) -> None:
        credentials = tmp_path / "key.json"
        credentials.write_text("{}")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(credentials))
        monkeypatch.setenv("HF_TOKEN", "secret")
        asked = arguments(**named)
        assert asked["network_mode"] == "host"
        assert asked["environment"]["HF_TOKEN"] == "secret"
        assert mounted(asked, read_only=True) == {str(credentials)}
        assert "HF_TOKEN" not in arguments()["environment"]

    def test_gpus_are_asked_for_when_the_image_wants_them(self, arguments) -> None:
        (request,) = arguments(variables=["NVIDIA_VISIBLE_DEVICES=all"])["device_requests"]
        assert request["Capabilities"] == [["gpu"]]
