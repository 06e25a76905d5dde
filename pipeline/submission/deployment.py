"""`--deployment FILE`: what a cluster needs to know of the steps' pods.

Kubernetes only, hence never in the committed pipeline: it becomes a second document of what is sent.
"""

import difflib
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from pipeline.submission.bundle import EXECUTOR
from slmrec.config import Positive, Section, explain
from slmrec.errors import ConfigError
from slmrec.yaml_text import read_yaml

Id = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Inside = Annotated[str, Field(pattern=r"^/")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Secret(Section):
    """A secret of the cluster in environment variables; only its name is ever written down."""

    name: Text
    """Name of the secret."""
    env: dict[Text, Variable] = Field(min_length=1)
    """Key in the secret → name of the environment variable."""
    optional: bool = False
    """Whether a pod starts without it."""


class Toleration(Section):
    """A taint of nodes that a pod puts up with, as Kubernetes defines it."""

    key: Text | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    seconds: Id | None = None
    """How long a `NoExecute` taint is put up with; for good where not given."""


class Volume(Section):
    """A persistent volume claim and where it is mounted."""

    claim: Text
    path: Inside
    sub_path: str = ""
    """Folder in the volume; the whole volume where empty."""


class Security(Section):
    """Who the container runs as; what an administrator has set goes before it."""

    run_as_user: Id | None = None
    run_as_group: Id | None = None
    run_as_non_root: bool | None = None


class Pod(Section):
    """The settings of a step's pod."""

    secrets: tuple[Secret, ...] = ()
    image_pull_secrets: tuple[Text, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    node_selector: dict[Text, str] = Field(default={})
    """Labels that a node must have."""
    volumes: tuple[Volume, ...] = ()
    security: Security | None = None
    timeout_seconds: Positive | None = None
    """How long a pod may run, seconds."""

    def over(self, base: "Pod") -> "Pod":
        """These settings on top of others: lists grow, single values replace."""
        return Pod(
            secrets=base.secrets + self.secrets,
            image_pull_secrets=base.image_pull_secrets + self.image_pull_secrets,
            tolerations=base.tolerations + self.tolerations,
            node_selector=base.node_selector | self.node_selector,
            volumes=base.volumes + self.volumes,
            security=self.security or base.security,
            timeout_seconds=self.timeout_seconds or base.timeout_seconds,
        )


class Deployment(Section):
    """Settings of all steps, and of some on top."""

    all: Pod = Pod()
    steps: dict[str, Pod] = Field(default={})


class _File(Section):
    all: Pod = Pod()
    steps: dict[str, Any] = Field(default={})


def load_deployment(path: Path, steps: list[str]) -> Deployment:
    """Read the settings from a YAML file. Raises `ConfigError` naming the file and the field."""
    loaded = read_yaml(path, "deployment file")
    try:
        file = _File.model_validate({} if loaded is None else loaded)
    except ValidationError as error:
        raise ConfigError(explain(_File, error, str(path))) from None
    pods = {}
    for step, settings in file.steps.items():
        if step not in steps:
            close = difflib.get_close_matches(str(step), steps, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise ConfigError(
                f"{path}: steps.{step}: no such step; {hint}the steps are {', '.join(steps)}"
            )
        try:
            pods[step] = Pod.model_validate(settings)
        except ValidationError as error:
            raise ConfigError(explain(Pod, error, f"{path}: steps.{step}")) from None
    return Deployment(all=file.all, steps=pods)


def platform_document(deployment: Deployment, steps: list[str]) -> dict[str, Any]:
    """The document that a compiler adds when tasks are given these settings; empty for none.

    Raises `ConfigError` where kfp-kubernetes is not installed.
    """
    try:
        import kfp.kubernetes  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--deployment: needs kfp-kubernetes; run pip install 'slmrec[kubernetes]'"
        ) from None
    executors = {}
    for step in steps:
        pod = deployment.steps.get(step, Pod()).over(deployment.all)
        if settings := _executor(pod):
            executors[f"{EXECUTOR}{step.replace('_', '-')}"] = settings
    if not executors:
        return {}
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}


def _executor(pod: Pod) -> dict[str, Any]:
    from kfp import kubernetes

    # Of a task these functions read and write nothing but this.
    task: Any = SimpleNamespace(platform_config={})
    for secret in pod.secrets:
        kubernetes.use_secret_as_env(task, secret.name, secret.env, secret.optional)
    if pod.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(pod.image_pull_secrets))
    for toleration in pod.tolerations:
        kubernetes.add_toleration(
            task,
            key=toleration.key,
            operator=toleration.operator,
            value=toleration.value,
            effect=toleration.effect,
            toleration_seconds=toleration.seconds,
        )
    for label, value in pod.node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    for volume in pod.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path, volume.sub_path)
    if pod.security is not None and pod.security != Security():
        kubernetes.set_security_context(task, **pod.security.model_dump())
    if pod.timeout_seconds is not None:
        kubernetes.set_timeout(task, pod.timeout_seconds)
    return dict(task.platform_config.get("kubernetes", {}))
