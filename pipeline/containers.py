"""Steps in containers: `python -m pipeline run --runner docker`.

A container sees the home, the input files and the registry under the names they have here, writes to
nothing else, runs as the caller, and has no network unless something that was named lies elsewhere.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.runtime import PROCESSES_VARIABLE, PUBLIC_KEY_VARIABLE
from pipeline.code import code_digest, image_name
from pipeline.home import Home
from pipeline.parameters import SAMPLE
from slmrec.errors import ConfigError
from slmrec.processes import end_children
from slmrec.storage.client import is_remote

DIGEST_LABEL = "org.opencontainers.image.revision"
"""Of an image: the digest of the code in it, which `build-image` writes."""
RUN_LABEL = "slmrec.run"
"""Of a container: the run that it belongs to."""
GPU_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
"""Set in an image that wants GPUs."""
CREDENTIALS_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
CREDENTIALS = Path(".config/gcloud/application_default_credentials.json")
"""Below the caller's home directory, where `gcloud` leaves them."""
PASSED = (PROCESSES_VARIABLE, "OMP_NUM_THREADS")
"""Variables that decide how a step computes."""
PASSED_TO_NETWORK = (
    *("GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST"),
    *("HF_ENDPOINT", "HF_TOKEN"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""Variables that say how to reach what lies elsewhere."""


class Containers:
    """Each step is a container of one image.

    Without `image` it is the one that `make images` makes of this very code. Raises `ConfigError`
    when no engine answers, and when there is no such image or it is none of ours.
    """

    def __init__(self, image: str = "") -> None:
        with _engine() as client:
            self.image = image or image_name(code_digest())
            found = _find(client, self.image, may_pull=bool(image))
            if not found.labels.get(DIGEST_LABEL):
                raise ConfigError(
                    f"{self.image}: no label {DIGEST_LABEL}, expected an image that 'make images' built"
                )
            self.code_digest: str = found.labels[DIGEST_LABEL]
            variables = found.attrs["Config"]["Env"] or []
            self._gpus = any(entry.startswith(f"{GPU_VARIABLE}=") for entry in variables)
            self._own_cache = found.id.removeprefix("sha256:")[:12] if image else ""
        self._run_id = ""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the engine answers when it cannot start a container."""
        from docker.errors import DockerException

        return (DockerException,)

    def task_cache(self, home: Home) -> Path:
        """The home's own, or one for each image that was named: a name may come to mean another."""
        return home.task_cache / self._own_cache

    def start(
        self,
        home: Home,
        run_id: str,
        parameters: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> Any:
        """Give KFP's runner of containers that see what this run needs."""
        from docker.types import DeviceRequest
        from kfp import local

        self._run_id = run_id
        places = _places(parameters)
        networked = is_remote(home.registry) or any(map(_is_elsewhere, places))
        writable = {home.path.absolute(), home.path.resolve()}
        if home.elsewhere and not is_remote(home.registry):
            writable.add(Path(home.registry))
        # What the engine has to make itself would belong to root.
        for folder in (*writable, home.artifacts / run_id, home.library_cache):
            folder.mkdir(parents=True, exist_ok=True)
        readable = {path for place in places if not _is_elsewhere(place) for path in _paths(place)}
        variables = {
            **{name: os.environ[name] for name in PASSED if name in os.environ},
            **environment,
            **self._trusted(readable),
            "XDG_CACHE_HOME": str(home.library_cache.resolve()),
        }
        if networked:
            variables |= {n: os.environ[n] for n in PASSED_TO_NETWORK if n in os.environ}
            credentials = Path(os.environ.get(CREDENTIALS_VARIABLE) or Path.home() / CREDENTIALS)
            if credentials.is_file():
                variables[CREDENTIALS_VARIABLE] = str(credentials.absolute())
                readable.add(credentials.absolute())
        return local.DockerRunner(
            user=f"{os.getuid()}:{os.getgid()}",
            network_mode="host" if networked else "none",
            read_only=True,
            tmpfs={"/tmp": ""},  # noqa: S108 - of the container
            shm_size="1g",  # processes that train together talk through it
            mounts=[*_mounts(writable, read_only=False), *_mounts(readable, read_only=True)],
            environment=variables,
            working_dir=str(Path.cwd()),  # relative names in the settings mean the same
            security_opt=["no-new-privileges"],
            labels={RUN_LABEL: run_id},
            **(
                {"device_requests": [DeviceRequest(count=-1, capabilities=[["gpu"]])]}
                if self._gpus
                else {}
            ),
        )

    def _trusted(self, readable: set[Path]) -> dict[str, str]:
        """The public key. The one that signs stays outside: every step would see it."""
        key = os.environ.get(PUBLIC_KEY_VARIABLE, "")
        if key and "-----BEGIN" not in key:  # a path, and not the key itself
            readable.add(Path(key).absolute())
            key = str(Path(key).absolute())
        return {PUBLIC_KEY_VARIABLE: key} if key else {}

    def end(self) -> None:
        """Remove this run's containers: what a step had not finished does not look finished."""
        end_children()
        with _engine() as client:
            running = client.containers.list(all=True, filters={"label": self._label()})
            for container in running:
                with contextlib.suppress(*self.errors):  # it went by itself
                    container.remove(force=True)

    def _label(self) -> str:
        return f"{RUN_LABEL}={self._run_id}"


@contextlib.contextmanager
def _engine() -> Iterator[Any]:
    try:
        import docker
    except ImportError:
        raise ConfigError(
            "the package 'docker' is not installed and --runner docker needs it; "
            "run 'make setup', or leave --runner out"
        ) from None
    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise ConfigError(
            f"no Docker engine answers ({error}); start one, or leave --runner out"
        ) from None
    try:
        yield client
    finally:
        client.close()


def _find(client: Any, image: str, *, may_pull: bool) -> Any:
    from docker.errors import DockerException, ImageNotFound

    with contextlib.suppress(ImageNotFound):
        return client.images.get(image)
    if not may_pull:
        raise ConfigError(
            f"{image}: no such image here; run 'make images', or name one with --image"
        )
    try:
        return client.images.pull(image)
    except DockerException as error:
        raise ConfigError(
            f"{image}: no such image here, and it cannot be pulled ({error}); see 'docker images'"
        ) from None


def _places(parameters: Mapping[str, Any]) -> list[str]:
    """Everything that a run reads from outside: sources, checkpoints, lists that were given out."""
    teacher = json.loads(parameters["train_teacher_config"])
    drift = json.loads(parameters["monitor_drift_config"])
    named = [
        parameters["interactions"],
        parameters["items"],
        (teacher["pretrained"] or {}).get("checkpoint", ""),
        teacher["text_encoder"],
        drift["recommendations"],
    ]
    return [place for place in named if place and not place.startswith(SAMPLE)]


def _is_elsewhere(place: str) -> bool:
    """Whether the network is needed: a URI, or a name that is no path here, like a hub's."""
    return "://" in place or not _top(place).exists()


def _top(place: str) -> Path:
    """The file or folder itself, or the folder above a glob."""
    path = Path(place).absolute()
    while not path.exists() and re.search(r"[*?[]", str(path)):
        path = path.parent
    return path


def _paths(place: str) -> set[Path]:
    """What has to be seen to read a place: what links in a folder lead to, too."""
    top = _top(place)
    inside = top.rglob("*") if top.is_dir() else ()
    return {top, *(path.resolve() for path in inside if path.is_symlink() and path.exists())}


def _mounts(paths: set[Path], *, read_only: bool) -> list[Any]:
    from docker.types import Mount

    return [
        Mount(str(path), str(path.resolve()), type="bind", read_only=read_only)
        for path in sorted(paths)
    ]
