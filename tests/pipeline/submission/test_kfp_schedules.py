"""`schedule` against Kubeflow Pipelines, request by request."""

import json

import pytest

from tests.pipeline.submission.calls import IMAGE, RUN, call, refusal
from tests.pipeline.submission.kubeflow import API, Kubeflow
from tests.pipeline.submission.scheduled import SCHEDULE, at, create


def test_a_schedule_is_created_once_when_it_is_asked_for_twice(kubeflow: Kubeflow) -> None:
    said = create(kubeflow)
    assert "created schedule 'nightly', recurringruns-1" in said
    assert said.count(" 05:00:00 +0") == 5
    (schedule,) = kubeflow.held["recurringruns"].values()
    assert schedule["trigger"] == {"cron_schedule": {"cron": "0 0 5 * * *"}}
    assert (schedule["max_concurrency"], schedule["no_catchup"]) == ("1", True)
    assert schedule["runtime_config"]["parameters"]["started"] == ""
    posted = kubeflow.lines("POST")
    assert "schedule 'nightly' is there already, unchanged" in create(kubeflow)
    assert json.loads(create(kubeflow, "--json"))["created"] is False
    assert kubeflow.lines("POST") == posted


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("cron", ["0 0 5 * * *", "0 0 6 * * *"])
def test_one_schedule_stays_when_two_people_create_it_at_once(
    kubeflow: Kubeflow, first: str, cron: str
) -> None:
    def meanwhile(asked, answer=kubeflow.answer):  # type: ignore[no-untyped-def]
        made = answer(asked)
        if asked.line == f"POST {API}recurringruns":
            time = "2026-02-01T00:00:00Z" if first == "ours" else "2025-12-01T00:00:00Z"
            trigger = {"cron_schedule": {"cron": cron}}
            other = {"recurring_run_id": "theirs", "created_at": time, "trigger": trigger}
            kubeflow.held["recurringruns"]["theirs"] = {**made, **other}
        return made

    kubeflow.answer = meanwhile  # type: ignore[method-assign]
    if first == "ours":
        assert "created schedule 'nightly', recurringruns-1" in create(kubeflow)
    elif cron == "0 0 5 * * *":
        assert "schedule 'nightly' is there already, unchanged" in create(kubeflow)
    else:
        said = refusal("schedule", "create", *at(kubeflow), *SCHEDULE, *RUN)
        assert "is there already with another cron ('0 0 6 * * *', asked for '0 0 5" in said
    kept = "recurringruns-1" if first == "ours" else "theirs"
    assert list(kubeflow.held["recurringruns"]) == [kept]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cron", "0 6 * * *"), "another cron ('0 0 5 * * *', asked for '0 0 6 * * *')"),
        (("--force",), "another parameters (force)"),
        (("--image", IMAGE.replace("0a", "0b")), "another pipeline version"),
        (("--time-zone", "UTC"), "another time zone"),
        (("--experiment", "other"), "another experiment"),
        (("--service-account", "robot"), "another service account"),
        (("--root", "gs://shop/elsewhere"), "another root"),
    ],
)
def test_a_schedule_is_refused_when_its_name_has_another_content(
    kubeflow: Kubeflow, options: tuple[str, ...], message: str
) -> None:
    create(kubeflow)
    posted = kubeflow.lines("POST")
    said = refusal("schedule", "create", *at(kubeflow), *SCHEDULE, *RUN, *options)
    assert f"schedule 'nightly': is there already with {message}; delete it first" in said
    assert kubeflow.lines("POST") == posted


def test_a_schedule_is_listed_paused_resumed_and_deleted(kubeflow: Kubeflow) -> None:
    assert call("schedule", "list", *at(kubeflow)) == "no schedules\n"
    for name in ("nightly", "weekly", "hourly"):
        create(kubeflow, "--name", name)
    stranger = {
        **kubeflow.held["recurringruns"]["recurringruns-1"],
        "recurring_run_id": "stranger",
        "display_name": "another pipeline's",
        "pipeline_version_reference": {"pipeline_id": "other", "pipeline_version_id": "other"},
    }
    kubeflow.held["recurringruns"]["stranger"] = stranger
    listed = json.loads(call("schedule", "list", *at(kubeflow), "--json"))
    assert [one["name"] for one in listed] == ["hourly", "nightly", "weekly"]
    (version,) = kubeflow.versions.values()
    assert listed[1] == {
        "name": "nightly",
        "id": "recurringruns-1",
        "cron": "0 0 5 * * *",
        "paused": False,
        "version": f"{version['name']}, times in Europe/Berlin",
    }
    assert "paused schedule 'nightly'" in call("schedule", "pause", "nightly", *at(kubeflow))
    assert kubeflow.lines()[-1] == f"POST {API}recurringruns/recurringruns-1:disable"
    row = call("schedule", "list", *at(kubeflow)).splitlines()[2]
    assert row.split()[:8] == ["nightly", "paused", "0", "0", "5", "*", "*", "*"]
    assert "it is paused, 'schedule resume' starts it" in create(kubeflow)
    call("schedule", "resume", "recurringruns-1", *at(kubeflow))
    assert kubeflow.lines()[-1] == f"POST {API}recurringruns/recurringruns-1:enable"
    call("schedule", "delete", "nightly", *at(kubeflow))
    assert kubeflow.lines()[-1] == f"DELETE {API}recurringruns/recurringruns-1"
    said = refusal("schedule", "delete", "nightly", *at(kubeflow))
    assert said == "schedule 'nightly': not there; found: hourly, weekly"


def test_a_schedule_is_named_by_its_id_when_its_name_is_not_enough(kubeflow: Kubeflow) -> None:
    create(kubeflow)
    twin = kubeflow.held["recurringruns"]["recurringruns-1"] | {"recurring_run_id": "twin"}
    kubeflow.held["recurringruns"]["twin"] = twin
    said = refusal("schedule", "pause", "nightly", *at(kubeflow))
    assert "there are 2; name one by its id: recurringruns-1, twin" in said
    call("schedule", "pause", "twin", *at(kubeflow))


@pytest.mark.parametrize("name", ["", " a", "a/b", 'a"b', "ä", "a" * 64])
def test_a_schedules_name_is_refused_when_a_service_would_not_take_it(
    kubeflow: Kubeflow, name: str
) -> None:
    said = refusal("schedule", "create", *at(kubeflow), *SCHEDULE, *RUN, "--name", name)
    assert f"--name '{name}': expected 1 to 63 letters" in said
    assert kubeflow.asked == []
