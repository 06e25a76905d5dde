"""The words of services, one by one, and whether they are the official ones."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf import json_format

from pipeline.fetching.ml_metadata import _unframed
from pipeline.fetching.ml_metadata_messages import _MESSAGES
from pipeline.fetching.remote import RemoteTask, RunHandle, moment, step_of, whole_numbers
from pipeline.submission.transport import SubmissionError
from tests.pipeline.fetching.ran import CREATED, Ran
from tests.pipeline.fetching.vertex_ran import VertexRan

STEPS = frozenset({"cache_teacher", "cache", "monitor_drift"})


@pytest.mark.parametrize(
    ("task", "step"),
    [
        ("monitor-drift", "monitor_drift"),
        ("cache-teacher-12", "cache_teacher"),
        ("cache-3-1", "cache"),
        ("cache-teacher-driver", ""),
        ("for-loop-1", ""),
        ("", ""),
    ],
)
def test_a_task_is_the_step_whose_name_it_has_before_its_number(task: str, step: str) -> None:
    assert step_of(task, STEPS) == step


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00.123456789Z", datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)),
        ("2026-03-01T14:00:00+02:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_services_write_it(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-03-01T12:00:00", None, 7])
def test_a_time_is_refused_when_it_is_none(text: object) -> None:
    with pytest.raises(SubmissionError, match="the service tells a time"):
        moment(text)


def test_numbers_are_whole_again_where_they_were() -> None:
    told = {"users": 300.0, "seconds": 0.25, "ok": True, "none": None, "in": [{"n": 2.0}, "2.0"]}
    found = whole_numbers(told)
    assert found == {
        "users": 300,
        "seconds": 0.25,
        "ok": True,
        "none": None,
        "in": [{"n": 2}, "2.0"],
    }
    assert [type(value) for value in (found["users"], found["ok"])] == [int, bool]


def test_runs_are_in_the_order_of_their_names_wherever_they_ran() -> None:
    def named(service: str, created: datetime) -> str:
        return RunHandle(service, "r1", "r1", "SUCCEEDED", True, True, created).home_id

    later = CREATED + timedelta(seconds=1)
    assert named("vertex", CREATED) < named("kfp", later)
    assert named("kfp", CREATED).startswith("20260228-120000-250000-kfp-")


def test_a_name_is_of_one_moment_in_whatever_zone_it_is_told() -> None:
    there = CREATED.astimezone(timezone(timedelta(hours=5)))
    names = {
        RunHandle("kfp", "r1", "r1", "SUCCEEDED", True, True, created).home_id
        for created in (CREATED, there)
    }
    assert len(names) == 1


def test_a_step_without_outputs_says_its_values_and_how_long_it_took() -> None:
    ended = CREATED + timedelta(seconds=1.5)
    task = RemoteTask("snapshot_source", "executed", CREATED, ended, parameters={"digest": "d1"})
    assert task.metadata == {"digest": "d1", "step": "snapshot_source", "seconds": 1.5}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "something else than gRPC-web"),
        (b"<html>", "something else than gRPC-web"),
        (b"\0\0\0\0\5four", "something else than gRPC-web"),
        (b"\0\0\0\0\1a\0\0\0\0\1b", "something else than gRPC-web"),
        (b"\x80\0\0\0\x26grpc-status:7\r\ngrpc-message:no%20right", r"refused \(no right\)"),
    ],
)
def test_an_answer_is_refused_when_it_is_not_one_message(answer: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _unframed(answer)


def test_numbers_of_fields_are_the_official_ones() -> None:
    store = pytest.importorskip(
        "ml_metadata.proto.metadata_store_pb2",
        reason="ml-metadata is not installed; what its server would send is written down in a test",
        exc_type=ImportError,
    )
    from ml_metadata.proto import metadata_store_service_pb2 as service

    other = {"Step": store.Event.Path.Step, "Path": store.Event.Path}
    other["Options"] = store.ListOperationOptions
    other["Property"] = store.Artifact.CustomPropertiesEntry
    for name, fields in _MESSAGES.items():
        official = other.get(name) or getattr(store, name, None) or getattr(service, name)
        numbers = {field.name: field.number for field in official.DESCRIPTOR.fields}
        assert {label: number for label, (number, _) in fields.items()}.items() <= numbers.items()


def test_what_vertex_tells_here_is_what_its_messages_hold(ran: Ran) -> None:
    types = pytest.importorskip(
        "google.cloud.aiplatform_v1.types",
        reason="google-cloud-aiplatform is not installed; a job is as its reference describes it",
        exc_type=ImportError,
    )
    for told in (ran, ran.failing("validate_data", "exit code 3")):
        job = VertexRan(ran={"r1": told})._job("r1")
        read = json_format.ParseDict(job, types.PipelineJob.pb(types.PipelineJob()))
        assert len(read.job_detail.task_details) == len(told.tasks) + 3
