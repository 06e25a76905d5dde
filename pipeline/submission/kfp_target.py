"""Runs and schedules of Kubeflow Pipelines."""

from dataclasses import dataclass
from typing import Any

from pipeline.submission.bundle import NAME, Bundle
from pipeline.submission.cron import Cron
from pipeline.submission.kfp_api import KubeflowApi, quoted
from pipeline.submission.kfp_bodies import (
    FILLED,
    compared,
    listed,
    recurring,
    reference_to,
    work,
)
from pipeline.submission.target import Job, Schedule, refuse_other, uploaded
from pipeline.submission.transport import Request, SubmissionError


@dataclass(frozen=True)
class KubeflowTarget:
    """Kubeflow Pipelines at a host."""

    api: KubeflowApi

    def submit(self, bundle: Bundle, job: Job) -> dict[str, Any]:
        """Start one run and say where it is."""
        reference, new = self._publish(bundle)
        with uploaded(f"version {bundle.version} of pipeline {NAME}"):
            experiment = self._experiment(job.experiment)
            run = self.api.post(
                "start the run", "runs", work(bundle, job, experiment, reference, job.name)
            )
        return {
            **self._place(run), "version": bundle.version, "uploaded": new, "started": True,
        }  # fmt: skip

    def find_run(self, name: str) -> dict[str, Any] | None:
        """Where a run of that name is; None where there is none."""
        found = list(self.api.list("look for the run", "runs", "runs", name=name))
        return self._place(found[0]) if found else None

    def create_schedule(self, bundle: Bundle, job: Job, name: str, cron: Cron) -> dict[str, Any]:
        """Create a schedule, or leave the one that is there when it is the same."""
        found = list(
            self.api.list("look for the schedule", "recurringruns", "recurringRuns", name=name)
        )
        facts = {"name": name, "cron": cron.text, "version": bundle.version}
        if found:
            pipeline = self.api.named("pipelines", NAME) or {}
            version = self._version(pipeline, bundle.version) if pipeline else None
            experiment = self.api.named("experiments", job.experiment) or {}
            reference = reference_to(version) if version else None
            wanted = recurring(
                bundle, job, experiment.get("experiment_id", ""), reference, name, cron
            )
            return {**facts, **_there(name, wanted, found)}
        reference, new = self._publish(bundle)
        with uploaded(f"version {bundle.version} of pipeline {NAME}"):
            experiment_id = self._experiment(job.experiment)
            body = recurring(bundle, job, experiment_id, reference, name, cron)
            made = self.api.post("create the schedule", "recurringruns", body)
        identity = made["recurring_run_id"]
        first = self._first(name) or made
        if first["recurring_run_id"] != identity:
            return {**facts, **_there(name, body, [first])}
        return {
            **facts, "id": identity, "created": True, "paused": False, "uploaded": new,
            "link": f"{self.api.host}/#/recurringrun/details/{identity}",
        }  # fmt: skip

    def _first(self, name: str) -> dict[str, Any] | None:
        """Of schedules that several people created under a name at once, the first; the others go."""
        every = self.api.list("look for the schedule", "recurringruns", "recurringRuns", name=name)
        first, *others = sorted(every, key=_age) or [None]
        for other in others:
            self._change("delete the second schedule", "DELETE", listed(other), "", (404,))
        return first

    def schedules(self) -> list[Schedule]:
        """Every schedule of this pipeline, by name."""
        pipeline = self.api.named("pipelines", NAME)
        if pipeline is None:
            return []
        every = self.api.list("list the schedules", "recurringruns", "recurringRuns")
        ours = [
            listed(schedule)
            for schedule in every
            if schedule.get("pipeline_version_reference", {}).get("pipeline_id")
            == pipeline["pipeline_id"]
        ]
        return sorted(ours, key=lambda schedule: (schedule.name, schedule.id))

    def pause(self, schedule: Schedule) -> None:
        """Start no more runs until it is resumed."""
        self._change("pause the schedule", "POST", schedule, ":disable")

    def resume(self, schedule: Schedule) -> None:
        """Start runs again; those that were missed stay missed."""
        self._change("resume the schedule", "POST", schedule, ":enable")

    def delete(self, schedule: Schedule) -> None:
        """Remove a schedule; its runs stay."""
        self._change("delete the schedule", "DELETE", schedule, "")

    def _publish(self, bundle: Bundle) -> tuple[dict[str, str], bool]:
        """The version that is this document, and whether it had to be uploaded."""
        pipeline = self.api.named("pipelines", NAME)
        if pipeline is None:
            # Older services know no `name`; newer ones take this for both.
            body = {"display_name": NAME, **self.api.in_namespace()}
            made = self.api.post("create the pipeline", "pipelines", body, tolerated=(409,))
            pipeline = made or self._there("pipelines", NAME)
        else:
            version = self._version(pipeline, bundle.version)
            if version is not None:
                return reference_to(version), False
        request = Request(
            "upload the pipeline",
            "POST",
            self.api.url("pipelines/upload_version"),
            query={"name": bundle.version, "pipelineid": pipeline["pipeline_id"]},
            upload=bundle.document,
            form="uploadfile",
            tolerated=(409,),  # somebody else uploaded the same bytes meanwhile
        )
        made = self.api.transport.send(request)
        version = made or self._version(pipeline, bundle.version)
        if version is None:
            raise SubmissionError(
                f"{self.api.host}: version {bundle.version} is taken and not listed; try again"
            )
        return {
            "pipeline_id": pipeline["pipeline_id"],
            "pipeline_version_id": version["pipeline_version_id"],
        }, bool(made)

    def _experiment(self, name: str) -> str:
        found = self.api.named("experiments", name)
        if found is None:
            body = {"display_name": name, **self.api.in_namespace()}
            found = self.api.post("create the experiment", "experiments", body, tolerated=(409,))
            found = found or self._there("experiments", name)
        return str(found["experiment_id"])

    def _there(self, kind: str, name: str) -> dict[str, Any]:
        found = self.api.named(kind, name)
        if found is None:
            raise SubmissionError(
                f"{self.api.host}: '{name}' is taken and not among the {kind} listed"
            )
        return found

    def _version(self, pipeline: dict[str, Any], name: str) -> dict[str, Any] | None:
        path = f"pipelines/{quoted(pipeline['pipeline_id'])}/versions"
        found = list(self.api.list("look for the version", path, "pipeline_versions", name=name))
        return found[0] if found else None

    def _change(
        self,
        purpose: str,
        method: str,
        schedule: Schedule,
        verb: str,
        tolerated: tuple[int, ...] = (),
    ) -> None:
        url = self.api.url(f"recurringruns/{quoted(schedule.id)}{verb}")
        self.api.transport.send(Request(purpose, method, url, tolerated=tolerated))

    def _place(self, run: dict[str, Any]) -> dict[str, Any]:
        return {"run": run["run_id"], "link": self.api.run_link(run["run_id"])}


def _there(name: str, wanted: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """What to say of schedules that have the name already; raises `ConfigError` for other ones."""
    # The service fills in its own where nothing was asked for.
    asked = {part: value for part, value in compared(wanted).items() if value or part not in FILLED}
    for schedule in found:
        refuse_other(name, compared(schedule), asked)
    there = listed(found[0])
    return {"id": there.id, "created": False, "paused": there.paused}


def _age(schedule: dict[str, Any]) -> tuple[str, str]:
    return str(schedule.get("created_at", "")), str(schedule["recurring_run_id"])
