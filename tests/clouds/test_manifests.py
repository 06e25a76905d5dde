"""What we send and write, beside the services' own messages: `make test-clouds`."""

import json

import pytest
import yaml

from components.run_step import STEPS
from pipeline.parameters import config_parameters
from pipeline.paths import CONFIGS, PIPELINE_FILE
from slmrec.config_file import load_config
from tests.clouds.asking import Refused, ask
from tests.pipeline.submission.calls import IMAGE, RUN, call

pytestmark = pytest.mark.clouds

INPUTS = {
    "pretrain_items": ("sequences",),
    "train_teacher": ("sequences", "items_model"),
    "distill_student": ("sequences", "teacher", "caches", "caches"),
}
VERTEX = (
    *("--target", "vertex", "--project", "shop", "--location", "europe-west4"),
    *("--staging", "gs://shop/pipelines", *RUN, "--dry-run"),
)
NIGHTLY = ("--name", "nightly", "--cron", "0 5 * * *", "--time-zone", "Europe/Berlin")


def manifest(target: str, step: str, *more: str) -> str:
    inputs = [word for name in INPUTS[step] for word in ("--input", f"{name}=/gcs/shop/{name}")]
    places = (*inputs, "--output", "/gcs/shop/made", "--checkpoints", "/gcs/shop/going")
    return call("manifest", "--target", target, "--step", step, "--image", IMAGE, *places, *more)


@pytest.mark.parametrize("step", STEPS)
def test_train_job_holds_nothing_that_trainer_does_not_know(step: str) -> None:
    gpus = ("--accelerator", "nvidia.com/gpu", "--accelerators", "4", "--service-account", "robot")
    for more in ((), ("--volume", "models:/gcs/shop", *gpus)):
        made = yaml.safe_load(manifest("trainjob", step, *more))
        assert ask("train_job", made) == made


def test_train_job_is_told_apart_when_a_field_is_unknown_or_of_another_type() -> None:
    made = yaml.safe_load(manifest("trainjob", "pretrain_items"))
    made["spec"]["trainer"]["nodes"] = 2
    assert "nodes" not in ask("train_job", made)["spec"]["trainer"]
    made["spec"]["trainer"]["numNodes"] = "2"
    with pytest.raises(Refused):
        ask("train_job", made)


@pytest.mark.parametrize("step", STEPS)
def test_custom_job_is_read_as_it_was_written(step: str) -> None:
    gpus = ("--accelerator", "NVIDIA_L4", "--accelerators", "2", "--machine-type", "g2-standard-24")
    for more in ((), (*gpus, "--nodes", "4", "--service-account", "robot@shop")):
        made = json.loads(manifest("vertex", step, *more))
        assert ask("custom_job", made) == made


def test_custom_job_is_refused_when_a_field_or_an_accelerator_is_unknown() -> None:
    made = json.loads(manifest("vertex", "pretrain_items"))
    made["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]["acceleratorType"] = "NVIDIA_L5"
    with pytest.raises(Refused, match="NVIDIA_L5"):
        ask("custom_job", made)
    made["jobSpec"]["workerPoolSpecs"][0]["machineSpec"] = {"machine": "e2"}
    with pytest.raises(Refused, match=r"Available Fields.*machineType"):
        ask("custom_job", made)


def test_what_submit_and_schedule_send_to_vertex_is_what_its_messages_hold() -> None:
    job = json.loads(call("submit", *VERTEX, "--service-account", "robot"))["requests"][-1]["body"]
    assert ask("pipeline_job", job) == job
    sent = json.loads(call("schedule", "create", *VERTEX, *NIGHTLY))["requests"]
    schedule = next(one["body"] for one in reversed(sent) if "body" in one)
    read = ask("schedule", schedule)
    assert read.pop("allowQueueing", False) is schedule.pop("allowQueueing")
    assert read == schedule
    assert ask("resume_schedule", {"catchUp": True}) == {"catchUp": True}


def test_committed_pipeline_loads_in_vertex_with_the_parameters_of_a_run() -> None:
    settings = load_config(CONFIGS / "default.yaml", ["cache_teacher.shards=3"])
    parameters = {
        "interactions": "gs://shop/log/",
        "registry": "gs://shop/models",
        "force": True,
        **config_parameters(settings),
    }
    sent = ask("load_in_vertex", {"file": str(PIPELINE_FILE), "parameters": parameters})
    assert sent["runtimeConfig"]["parameterValues"] == parameters
    assert sent["pipelineSpec"] == yaml.safe_load(PIPELINE_FILE.read_text(encoding="utf-8"))


def test_parameter_is_refused_by_vertex_when_the_pipeline_has_no_such_one() -> None:
    case = {"file": str(PIPELINE_FILE), "parameters": {"interaction": "gs://shop/log/"}}
    with pytest.raises(Refused, match="interaction"):
        ask("load_in_vertex", case)


def test_committed_pipeline_loads_in_the_kfp_client() -> None:
    spec = yaml.safe_load(PIPELINE_FILE.read_text(encoding="utf-8"))
    declared = spec["root"]["inputDefinitions"]["parameters"]
    assert ask("load_in_kfp", {"file": str(PIPELINE_FILE)}) == sorted(declared)
