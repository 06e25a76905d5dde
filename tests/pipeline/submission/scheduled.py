"""A schedule that is asked for every night, and how a call names the service."""

from tests.pipeline.submission.calls import RUN, call
from tests.pipeline.submission.kubeflow import Kubeflow

SCHEDULE = ("--name", "nightly", "--cron", "0 5 * * *", "--time-zone", "Europe/Berlin")


def at(service: Kubeflow) -> tuple[str, ...]:
    return ("--target", "kfp", "--host", service.url)


def create(service: Kubeflow, *more: str) -> str:
    return call("schedule", "create", *at(service), *SCHEDULE, *RUN, *more)
