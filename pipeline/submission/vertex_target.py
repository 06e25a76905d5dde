"""Runs and schedules of Vertex AI Pipelines.

Vertex keeps no versions of a pipeline: a job carries the document itself. What was sent is kept under
its digest in Cloud Storage (`--staging`), and the digest is a label of every job.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pipeline.submission.bundle import NAME, Bundle
from pipeline.submission.cron import Cron
from pipeline.submission.target import Job, Schedule, refuse_other, uploaded
from pipeline.submission.transport import Request, SubmissionError
from pipeline.submission.vertex_api import VERSION_LABEL, VertexApi
from slmrec.errors import ConfigError
from slmrec.storage.client import split

STORAGE = "https://storage.googleapis.com"
_EXPERIMENT = "slmrec-experiment"
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")


@dataclass(frozen=True)
class VertexTarget:
    """Vertex AI in a project and a location."""

    api: VertexApi
    staging: str = ""
    """`gs://BUCKET/PREFIX`: where documents are kept, and artifacts where a job names no root."""
    storage: str = STORAGE
    """Address of Cloud Storage."""

    def submit(self, bundle: Bundle, job: Job) -> dict[str, Any]:
        """Start one run and say where it is."""
        body = self._job(bundle, job)
        new = self._publish(bundle)
        request = Request(
            "start the run", "POST", self.api.url("pipelineJobs"),
            query={"pipelineJobId": job.name}, body=body,
            tolerated=(409,),  # somebody else started the run of that name
        )  # fmt: skip
        with uploaded(f"the document {bundle.version}"):
            made = self.api.transport.send(request)
            place = self._place(made, job.name) if made else self.find_run(job.name)
        if place is None:
            raise SubmissionError(
                f"run {job.name}: its name is taken and it is not there; try again"
            )
        return {
            **place, "version": bundle.version, "uploaded": new, "started": bool(made),
        }  # fmt: skip

    def find_run(self, name: str) -> dict[str, Any] | None:
        """Where a run of that name is; None where there is none."""
        url = self.api.url(f"pipelineJobs/{quote(name, safe='')}")
        found = self.api.transport.send(Request("look for the run", "GET", url, tolerated=(404,)))
        return self._place(found, name) if found else None

    def create_schedule(self, bundle: Bundle, job: Job, name: str, cron: Cron) -> dict[str, Any]:
        """Create a schedule, or leave the one that is there when it is the same."""
        body = {
            "displayName": name,
            "cron": f"TZ={cron.zone} {cron.text}",
            "maxConcurrentRunCount": "1",
            "allowQueueing": False,
            "createPipelineJobRequest": {
                "parent": self.api.parent,
                "pipelineJob": self._job(bundle, job),
            },
        }
        facts = {"name": name, "cron": body["cron"], "version": bundle.version}
        found = list(self._list(name))
        if found:
            return {**facts, **_there(name, body, found)}
        new = self._publish(bundle)
        with uploaded(f"the document {bundle.version}"):
            made = self.api.transport.send(
                Request("create the schedule", "POST", self.api.url("schedules"), body=body)
            )
        first = self._first(name) or made
        if first["name"] != made["name"]:
            return {**facts, **_there(name, body, [first])}
        identity = str(made["name"]).rpartition("/")[2]
        return {
            **facts, "id": identity, "created": True, "paused": False, "uploaded": new,
            "link": self.api.page("schedules", identity),
        }  # fmt: skip

    def _first(self, name: str) -> dict[str, Any] | None:
        """Of schedules that several people created under a name at once, the first; the others go."""
        first, *others = sorted(self._list(name), key=_age) or [None]
        for other in others:
            self._change("delete the second schedule", "DELETE", _listed(other), "", None, (404,))
        return first

    def schedules(self) -> list[Schedule]:
        """Every schedule of this pipeline, by name."""
        ours = [
            _listed(one)
            for one in self._list()
            if _job_of(one).get("labels", {}).get(VERSION_LABEL)
        ]
        return sorted(ours, key=lambda schedule: (schedule.name, schedule.id))

    def pause(self, schedule: Schedule) -> None:
        """Start no more runs until it is resumed."""
        self._change("pause the schedule", "POST", schedule, ":pause", {})

    def resume(self, schedule: Schedule) -> None:
        """Start runs again; those that were missed stay missed."""
        self._change("resume the schedule", "POST", schedule, ":resume", {"catchUp": False})

    def delete(self, schedule: Schedule) -> None:
        """Remove a schedule; its runs stay."""
        self._change("delete the schedule", "DELETE", schedule, "", None)

    def _job(self, bundle: Bundle, job: Job) -> dict[str, Any]:
        if not _LABEL.fullmatch(job.experiment):
            raise ConfigError(
                f"--experiment {job.experiment}: on Vertex it is a label; expected 1 to 63 of a-z, "
                "0-9, '_' and '-'"
            )
        if not self.staging:
            raise ConfigError(
                "--staging: missing; name gs://BUCKET/PREFIX where documents are kept"
            )
        split(f"{self.staging.rstrip('/')}/", "gs://BUCKET/PREFIX as --staging")
        root = job.root or f"{self.staging.rstrip('/')}/runs"
        split(f"{root.rstrip('/')}/", "gs://BUCKET/PREFIX as --root")
        account = {"serviceAccount": job.service_account} if job.service_account else {}
        return {
            "displayName": NAME,
            "pipelineSpec": bundle.spec,
            "labels": {VERSION_LABEL: bundle.version, _EXPERIMENT: job.experiment},
            "runtimeConfig": {"gcsOutputDirectory": root, "parameterValues": bundle.parameters},
            **account,
        }

    def _publish(self, bundle: Bundle) -> bool:
        """Keep the document under its digest; whether it had to be uploaded."""
        bucket, prefix = split(f"{self.staging.rstrip('/')}/", "gs://BUCKET/PREFIX")
        name = f"{prefix}{NAME}/{bundle.version}.yaml"
        there = f"{self.storage}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"
        look = Request("look for the document", "GET", there, tolerated=(404,))
        if self.api.transport.send(look):
            return False
        address = f"{self.storage}/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        query = {"uploadType": "media", "name": name, "ifGenerationMatch": "0"}
        keep = Request(
            "upload the document to --staging", "POST", address, query=query,
            upload=bundle.document, tolerated=(412,),
        )  # fmt: skip
        return bool(self.api.transport.send(keep))  # 412: somebody else uploaded the same bytes

    def _list(self, name: str = "") -> Iterator[dict[str, Any]]:
        query = {"filter": f'display_name="{name}"'} if name else {}
        for one in self.api.list("list the schedules", "schedules", query):
            if not name or one.get("displayName") == name:
                yield one

    def _change(
        self,
        purpose: str,
        method: str,
        schedule: Schedule,
        verb: str,
        body: dict[str, Any] | None,
        tolerated: tuple[int, ...] = (),
    ) -> None:
        url = self.api.url(f"schedules/{quote(schedule.id, safe='')}{verb}")
        self.api.transport.send(Request(purpose, method, url, body=body, tolerated=tolerated))

    def _place(self, run: dict[str, Any], name: str) -> dict[str, Any]:
        return {"run": run["name"], "link": self.api.page("runs", name)}


def _job_of(schedule: dict[str, Any]) -> dict[str, Any]:
    return dict((schedule.get("createPipelineJobRequest") or {}).get("pipelineJob") or {})


def _there(name: str, wanted: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """What to say of schedules that have the name already; raises `ConfigError` for other ones."""
    for schedule in found:
        refuse_other(name, _compared(schedule), _compared(wanted))
    there = _listed(found[0])
    return {"id": there.id, "created": False, "paused": there.paused}


def _age(schedule: dict[str, Any]) -> tuple[str, str]:
    return str(schedule.get("createTime", "")), str(schedule["name"])


def _compared(schedule: dict[str, Any]) -> dict[str, Any]:
    """What makes a schedule another one, by the words that people know it by."""
    job = _job_of(schedule)
    runtime = job.get("runtimeConfig") or {}
    labels = job.get("labels") or {}
    return {
        "pipeline version": labels.get(VERSION_LABEL),
        "cron": schedule.get("cron"),
        "parameters": runtime.get("parameterValues") or {},
        "root": runtime.get("gcsOutputDirectory"),
        "experiment": labels.get(_EXPERIMENT),
        "service account": job.get("serviceAccount") or "",
        "concurrency": str(schedule.get("maxConcurrentRunCount")),
    }


def _listed(schedule: dict[str, Any]) -> Schedule:
    return Schedule(
        name=schedule.get("displayName", ""),
        id=schedule["name"].rpartition("/")[2],
        cron=schedule.get("cron", ""),
        paused=schedule.get("state") == "PAUSED",
        version=(_job_of(schedule).get("labels") or {}).get(VERSION_LABEL, ""),
    )
