"""The options that several verbs share, and what they come to: a target, and a job for it."""

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.parameters import SAMPLE
from pipeline.submission.bundle import NAME
from pipeline.submission.target import Job, Target
from pipeline.submission.transport import Advice, DryRun, Http, check_address, no_other_credentials
from slmrec.errors import ConfigError

TOKEN_IN_CLUSTER = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where Kubeflow mounts the token of a pod that may talk to it."""
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_CLOUD_NAME = re.compile(r"[a-z0-9][a-z0-9.:-]*")


class Service(StrEnum):
    """Where the pipeline runs."""

    KFP = "kfp"
    VERTEX = "vertex"


ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: as for 'run'.")
]
Set = Annotated[list[str], typer.Option("--set", help="One setting, STEP.KEY=VALUE; repeatable.")]
ServiceAccount = Annotated[str, typer.Option(help="Whom the steps run as.")]
Dry = Annotated[
    bool, typer.Option("--dry-run", help="Print as JSON what would be sent, and send nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Work:
    """What was said of the run: what is run, on what, and as whom."""

    interactions: Annotated[
        str, typer.Option(help="Interaction log: gs://…, a path in a mounted volume, or sample:…")
    ] = SAMPLE
    items: Annotated[str, typer.Option(help="Item titles and categories; optional.")] = ""
    format: Annotated[
        str, typer.Option(help="Format of the log; same as --set ingest_interactions.format=…")
    ] = ""
    config: ConfigFile = None
    set_: Set = field(default_factory=list)
    registry: Annotated[
        str,
        typer.Option(
            "--registry", help="The models' registry: gs://… or a path in a mounted volume."
        ),
    ] = ""
    force: Annotated[bool, typer.Option("--force", help="Train even without a reason.")] = False
    image: Annotated[
        str, typer.Option(help="The image of all steps, NAME@sha256:DIGEST; a tag may be moved.")
    ] = ""
    deployment: Annotated[
        Path | None,
        typer.Option("--deployment", help="kfp: YAML of secrets, tolerations, volumes, … by step."),
    ] = None
    experiment: Annotated[
        str, typer.Option(help="What runs are grouped under; on Vertex a label.")
    ] = NAME
    root: Annotated[
        str,
        typer.Option(
            help="Where artifacts go, gs://…; default: Kubeflow's own, or 'runs' in --staging."
        ),
    ] = ""
    service_account: ServiceAccount = ""
    staging: Annotated[
        str,
        typer.Option(help="vertex: gs://BUCKET/PREFIX where every document that was sent is kept."),
    ] = ""

    def job(self, name: str) -> Job:
        """A run of that name."""
        return Job(name, self.experiment, self.service_account, self.root)


@dataclass(frozen=True)
class Connection:
    """What was said of the service."""

    to: Annotated[Service, typer.Option("--target", help="Kubeflow Pipelines or Vertex AI.")]
    host: Annotated[
        str,
        typer.Option(
            envvar="KF_PIPELINES_ENDPOINT",
            help="kfp: address of Kubeflow Pipelines, often https://HOST/pipeline.",
        ),
    ] = ""
    namespace: Annotated[
        str, typer.Option(help="kfp: whose pipelines and runs, where there are several users.")
    ] = ""
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="KF_PIPELINES_SA_TOKEN_PATH", help="kfp: file that holds a token to log in with."
        ),
    ] = None
    project: Annotated[
        str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="vertex: the project.")
    ] = ""
    location: Annotated[str, typer.Option(help="vertex: where, such as europe-west4.")] = ""
    endpoint: Annotated[
        str, typer.Option(help="vertex: address of the API; default: the one of --location.")
    ] = ""

    def target(self, staging: str = "", dry: DryRun | None = None) -> Target:
        """The service; with `dry` nothing is sent to it. Raises `ConfigError`."""
        if self.to is Service.KFP:
            self._refuse(location=self.location, staging=staging, endpoint=self.endpoint)
            return self._kubeflow(dry)
        self._refuse(namespace=self.namespace)
        return self._vertex(staging, dry)

    def _kubeflow(self, dry: DryRun | None) -> Target:
        from pipeline.submission.kfp_api import KubeflowApi
        from pipeline.submission.kfp_target import KubeflowTarget

        if not self.host:
            raise ConfigError("--host: missing; name the address of Kubeflow Pipelines")
        host = check_address("--host", self.host)
        if dry is not None:
            return KubeflowTarget(KubeflowApi(dry, host, self.namespace))

        import requests

        token = self._token()
        session = requests.Session()
        session.auth = no_other_credentials
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        mine = f"in namespace '{self.namespace}'" if self.namespace else "there"
        advice = Advice(
            unreachable="check --host and the way to it (a port-forward, a proxy, a VPN)",
            unauthorised="give the file of a fresh token with --token-file",
            forbidden=f"ask for the right to run pipelines {mine}, or name another --namespace",
            not_found="check --host: it is the address of the API, often https://HOST/pipeline",
        )
        http = Http(session.request, advice, token)
        return KubeflowTarget(KubeflowApi(http, host, self.namespace))

    def _vertex(self, staging: str, dry: DryRun | None) -> Target:
        from pipeline.submission.vertex_api import VertexApi
        from pipeline.submission.vertex_target import STORAGE, VertexTarget

        for option, value in (("--project", self.project), ("--location", self.location)):
            if not _CLOUD_NAME.fullmatch(value):
                found = f"found '{value}'" if value else "missing"
                raise ConfigError(f"{option}: {found}; expected a name of Google Cloud")
        endpoint = check_address("--endpoint", self.endpoint) if self.endpoint else ""
        storage = os.environ.get("STORAGE_EMULATOR_HOST", STORAGE).rstrip("/")
        where = (self.project, self.location, endpoint)
        if dry is not None:
            return VertexTarget(VertexApi(dry, *where), staging, storage)

        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import AuthorizedSession

        log_in = (
            "log in with 'gcloud auth application-default login', or name a service account's file in "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )
        try:
            credentials, _ = google.auth.default(scopes=[_SCOPE])
        except GoogleAuthError as error:
            raise ConfigError(f"--target vertex: no credentials ({error}); {log_in}") from None
        session = AuthorizedSession(credentials)
        session.auth = no_other_credentials
        advice = Advice(
            unreachable="check --location and the network",
            unauthorised=log_in,
            forbidden=f"check that --project {self.project} is the right one, that its Vertex AI API "
            "is on, and that you have the role Vertex AI User in it and may write to --staging",
            not_found="check --project, --location and the bucket of --staging",
        )
        api = VertexApi(Http(session.request, advice), *where)
        return VertexTarget(api, staging, storage)

    def _token(self) -> str:
        path = self.token_file
        if path is None:
            path = TOKEN_IN_CLUSTER if TOKEN_IN_CLUSTER.is_file() else None
        if path is None:
            return ""
        try:
            token = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"--token-file {path}: cannot be read as a token") from None
        if not token or not token.isprintable() or " " in token:
            raise ConfigError(f"--token-file {path}: expected one token and nothing else")
        return token

    def _refuse(self, **others: str) -> None:
        for name, value in others.items():
            if value:
                raise ConfigError(f"--{name}: not for --target {self.to}; leave it out")
