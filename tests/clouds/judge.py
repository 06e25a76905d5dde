"""The services' side of the tests beside it: run in their environment, not in ours.

python judge.py VERB    reads a case from standard input and prints what the service's own code made of
it, both as JSON; an exception is the service's refusal.
"""

import json
import sys
from collections.abc import Callable
from typing import Any


def train_job(case: dict[str, Any]) -> Any:
    """A `TrainJob` as the models made from Trainer's schema read it; unknown fields are lost."""
    from kubeflow_trainer_api import models

    return models.TrainerV1alpha1TrainJob.from_dict(case).to_dict()


def custom_job(case: dict[str, Any]) -> Any:
    """A `CustomJob` as Vertex's message reads it; unknown fields and values are refused."""
    return _message("CustomJob", case)


def pipeline_job(case: dict[str, Any]) -> Any:
    """A `PipelineJob` as Vertex's message reads it."""
    return _message("PipelineJob", case)


def schedule(case: dict[str, Any]) -> Any:
    """A `Schedule` as Vertex's message reads it."""
    return _message("Schedule", case)


def resume_schedule(case: dict[str, Any]) -> Any:
    """A `ResumeScheduleRequest` as Vertex's message reads it."""
    return _message("ResumeScheduleRequest", case)


def load_in_vertex(case: dict[str, Any]) -> Any:
    """What `aiplatform.PipelineJob` would send of a compiled file with these parameters."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import aiplatform

    aiplatform.init(project="shop", location="europe-west4", credentials=AnonymousCredentials())
    job = aiplatform.PipelineJob(
        display_name="slmrec",
        template_path=case["file"],
        pipeline_root="gs://shop/runs",
        parameter_values=case["parameters"],
    )
    return job.to_dict()


def load_in_kfp(case: dict[str, Any]) -> Any:
    """Names of the parameters that the `kfp` client finds in a compiled file."""
    from kfp import components

    loaded = components.load_component_from_file(case["file"])
    return sorted(loaded.component_spec.inputs)


def bill_of_materials(case: dict[str, Any]) -> Any:
    """What CycloneDX's strict schema says of a document; null when it is as it should be."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(case))
    return error and repr(error)


def _message(name: str, case: dict[str, Any]) -> Any:
    from google.cloud.aiplatform_v1 import types
    from google.protobuf import json_format

    message = getattr(types, name)
    return json_format.MessageToDict(json_format.ParseDict(case, message.pb(message())))


VERBS: dict[str, Callable[[dict[str, Any]], Any]] = {
    one.__name__: one
    for one in (
        train_job,
        custom_job,
        pipeline_job,
        schedule,
        resume_schedule,
        load_in_vertex,
        load_in_kfp,
        bill_of_materials,
    )
}

if __name__ == "__main__":
    print(json.dumps(VERBS[sys.argv[1]](json.load(sys.stdin))))
