"""What the pages show."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slmrec.artifacts import write_json
from slmrec.dashboard.pages import VIEWS
from slmrec.dashboard.pages.view import page_count
from slmrec.dashboard.records import Records
from tests.dashboard.conftest import walk
from tests.dashboard.homes import LAST, NOW, make_home, make_run

SECTIONS = ("/", "/drift", "/models", "/data", "/runs", "/decisions")


def test_the_overview_says_what_changed_what_serves_and_what_waits(client):
    found = client.get("/api").json()
    assert found["verdict"] == "drift"
    # new_item_share touches .2 of the traffic, the other two .1
    assert found["causes"][0]["name"] == "new_item_share"
    assert found["production"]["number"] == 2
    assert found["production"]["figures"]["ndcg@10"] == {"value": 0.22, "ci95": [0.2, 0.3]}
    assert found["production"]["data_age_seconds"] == NOW.timestamp() - LAST
    assert found["candidate"]["number"] == 3
    assert found["candidate"]["gates"][0]["passed"]
    assert found["advice"]["do"] == "Approve or reject version 3"
    page = client.get("/").text
    for words in ("Version 2", "Version 3", "0.2200", "2 days ago", "Approve or reject version 3"):
        assert words in page


@pytest.mark.parametrize(
    ("decide", "verdict", "advice"),
    [
        (lambda r, said: r.reject(3, **said), "drift", "Wait for the next run"),
        (lambda r, said: r.promote(3, 2, **said), "stable", "Nothing"),
        (lambda r, said: r.promote(3, 2, **said), "watch", "Wait"),
        (lambda r, said: r.promote(3, 2, **said), None, "Wait for more data"),
    ],
)
def test_the_advice_follows_from_what_was_found(
    home, registry, open_client, decide, verdict, advice
):
    decide(registry, {"reason": "r", "actor": "a", "time": NOW.isoformat()})
    newest = sorted((home / "runs").iterdir())[-1] / "summary.json"
    summary = json.loads(newest.read_text())
    write_json(newest, {**summary, "drift": {"verdict": verdict}})
    assert open_client(home).get("/api").json()["advice"]["do"] == advice


def test_every_page_has_a_twin_and_is_reached_by_links(client):
    pages = walk(client)
    assert {*SECTIONS, "/models/compare/2/3", "/drift/user_state_shift", "/decisions/3"} <= {*pages}
    framed = [path for path in pages if "/reports/" in path]
    assert len(framed) >= 3
    for path, html in pages.items():
        if path in framed:
            continue
        assert html.count("<h1>") == 1, path
        assert 'href="#content"' in html
        assert "<main" in html
        assert html.count("<table") == html.count("<caption"), path
        assert "<script" not in html
        assert " style=" not in html
        twin = client.get(f"/api{path}".rstrip("/"))
        assert twin.headers["content-type"].startswith("application/json"), path
        assert isinstance(twin.json(), dict)


def test_a_section_marks_where_the_reader_is(client):
    for path in SECTIONS:
        assert client.get(path).text.count('aria-current="page"') == 1


def test_a_new_family_and_its_tables_are_shown_without_a_change(client):
    page = client.get("/drift").text
    for words in ("Embeddings", "User state shift", "Moved items", "Brazil", "(new)", "(gone)"):
        assert words in page
    moved = client.get("/api/drift").json()["found"]["moved"]["moved_items"][0]
    assert list(moved) == ["title", "item_id", "before", "after"]
    for words in ("Segments", "Reference ci95", "0.125, 0.5", "50.0% of the list is the same"):
        assert words in page


def test_a_statistic_is_followed_over_windows_and_runs(client):
    found = client.get("/api/drift/item_popularity").json()
    assert [row["effect"] for row in found["windows"]] == [0.1] * 3
    assert [row["effect"] for row in found["over_runs"]] == [0.0, 0.1]
    assert [row["alarm"] for row in found["over_runs"]] == [False, True]


def test_two_versions_are_compared_on_the_same_users_when_one_evaluation_judged_both(client):
    found = client.get("/api/models/compare/2/3").json()
    assert found["paired"]["difference"] == 0.01
    turned = client.get("/api/models/compare/3/2").json()["paired"]
    assert (turned["difference"], turned["ci95"]) == (-0.01, [-0.015, -0.005])
    assert client.get("/api/models/compare/1/2").json()["paired"] is None
    judged = {row["name"]: row["judged"] for row in found["rows"]}
    assert judged["NDCG@10"] == "better"
    assert judged["bytes"] == "worse"
    assert (found["rows"][0]["change"], found["rows"][0]["same_users"]) == (0.01, True)
    alone = client.get("/api/models/compare/1/3").json()["rows"][0]
    assert (alone["name"], alone["judged"]) == ("NDCG@10", "within chance")  # both [.2, .3]


def test_the_same_users_count_more_than_two_evaluations_of_others(client, monkeypatch):
    usual = Records.figures

    def of_easier_users(self, version):
        found = usual(self, version)
        return (
            {**found, "ndcg@10": {"value": 0.29, "ci95": [0.28, 0.3]}}
            if version.number == 2
            else found
        )

    monkeypatch.setattr(Records, "figures", of_easier_users)
    row = client.get("/api/models/compare/2/3").json()["rows"][0]
    assert (row["one"], row["other"], row["change"]) == (0.29, 0.23, 0.01)
    assert row["judged"] == "better"


def test_an_altered_evaluation_of_the_registry_is_not_shown(home, open_client):
    metrics = home / "registry" / "versions" / "000003" / "evaluation" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("0.23", "0.83"))
    client = open_client(home)
    for path in ("/", "/models", "/models/3", "/models/compare/2/3", "/decisions"):
        assert "0.83" not in client.get(path).text, path
    assert client.get("/api/models/3").json()["figures"]["ndcg@10"]["value"] is None


def test_a_log_without_times_has_no_days(home, open_client):
    summary = sorted((home / "runs").iterdir())[-1] / "summary.json"
    content = json.loads(summary.read_text())
    write_json(summary, {**content, "data": {**content["data"], "last": None}})
    for version in (home / "registry" / "versions").glob("*/version.json"):
        known = json.loads(version.read_text())
        data = {**known["data"], "last": 50, "order_only": True}
        version.write_text(json.dumps({**known, "data": data}))
    client = open_client(home)
    for path in ("/", "/models", "/models/2", "/models/compare/2/3"):
        assert "1970" not in client.get(path).text, path


def test_pruned_versions_are_not_listed_while_their_files_go(home, registry, open_client):
    said = {"actor": "a", "time": NOW.isoformat()}
    registry.promote(3, 2, reason="r", **said)
    shutil.copytree(home / "registry" / "versions" / "000001", home / "kept")
    assert registry.prune(1, **said) == [1]
    # As long as it takes to delete them, files are still there.
    shutil.copytree(home / "kept", home / "registry" / "versions" / "000001", dirs_exist_ok=True)
    found = open_client(home).get("/api/models").json()["versions"]
    assert [row["number"] for row in found] == [3, 2]


def test_a_run_shows_its_graph_and_from_what_each_artifact_was_made(client):
    run = client.get("/api/runs").json()["runs"][0]["slug"]
    found = client.get(f"/api/runs/{run}").json()
    # ingest → build is left out, for validate lies between; the loop stands for its step
    assert sorted(map(tuple, found["edges"])) == [
        ("build_sequences", "monitor_drift"),
        ("ingest_interactions", "validate_data"),
        ("monitor_drift", "promote_model"),
        ("validate_data", "build_sequences"),
    ]
    made = {row["port"]: row for row in found["artifacts"]}
    assert made["validate_data.verdict"]["inputs"][0]["ports"] == ["ingest_interactions.log"]
    assert made["monitor_drift.report"]["inputs"][0]["ports"] == ["build_sequences.sequences"]
    assert [step["cached"] for step in found["steps"]] == [True, False, False, False, False]


def test_pages_say_so_when_artifacts_are_gone(home, open_client):
    shutil.rmtree(home / "cache")
    pages = walk(open_client(home))
    assert "is gone" in pages["/"]
    assert "No drift report is there" in pages["/drift"]
    assert "are gone" in pages["/data"]
    assert "no longer there" in pages["/models/3"]
    assert open_client(home).get("/data/quarantine/1").status_code == 404


def test_an_altered_artifact_is_not_shown(home, open_client):
    for path in (home / "cache").rglob("drift.json"):
        path.write_text(path.read_text().replace("0.1", "0.2"))
    for path in (home / "cache").rglob("report.html"):
        path.write_text("other")
    client = open_client(home)
    assert client.get("/api/drift").json()["found"] is None
    run = client.get("/api/runs").json()["runs"][0]["slug"]
    assert client.get(f"/runs/{run}/reports/drift").status_code == 404


def test_a_home_that_was_moved_is_still_read(home, tmp_path, open_client):
    moved = home.rename(tmp_path / "moved")
    assert open_client(moved).get("/api/drift").json()["found"]["verdict"] == "drift"


def test_a_summary_cannot_point_outside_of_the_home(home, tmp_path, open_client):
    run = make_run(tmp_path / "elsewhere", ("plain",), 1)
    for place in (
        str(tmp_path / "elsewhere/cache/artifacts/20260001-120000/report"),
        "/cache/artifacts/../../../elsewhere/cache/artifacts/20260001-120000/report",
    ):
        newest = sorted((home / "runs").iterdir())[-1]
        summary = json.loads((run / "summary.json").read_text())
        summary["places"] = {"monitor_drift.report": place}
        shutil.rmtree(home / "cache" / "artifacts" / "20260001-120000", ignore_errors=True)
        write_json(newest / "summary.json", summary)
        client = open_client(home)
        assert client.get(f"/runs/{newest.name}/reports/drift").status_code == 404


@pytest.mark.parametrize(
    "summary",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"drift": 3, "steps": [1], "data": [], "places": {"a.b": 2}}',
        b'{"seconds": NaN, "steps": [{"seconds": 1e999}], "drift": {"alarms": [{}]}}',
        b'{"seconds": 1' + b"0" * 400 + b', "models": [{"bytes": 1' + b"0" * 400 + b"}]}",
        b'{"started": "2026", "data": {"last": 1e300}, "gates": [{}], "models": [{"metrics": 3}]}',
    ],
)
def test_no_page_breaks_when_a_summary_is_malformed(home, open_client, summary):
    broken = home / "runs" / "20270101-000000"
    broken.mkdir()
    (broken / "summary.json").write_bytes(summary)
    assert "/runs/20270101-000000" in walk(open_client(home))


def test_a_failed_run_says_at_which_step_without_telling_where_the_home_is(home, open_client):
    failed = home / "runs" / "20270101-000000"
    failed.mkdir()
    event = {"event": "failed", "step": "validate_data", "message": f"read {home}/x.html"}
    (failed / "events.jsonl").write_text(json.dumps(event) + "\n")
    client = open_client(home)
    front = client.get("/").text
    assert "failed at <strong>validate_data</strong>" in front
    assert "What follows is of the run before" in front
    page = client.get("/runs/20270101-000000").text
    assert "read …/x.html" in page
    assert str(home) not in page


def test_no_page_and_no_twin_tells_where_the_home_is(client, home):
    for path, html in walk(client).items():
        assert str(home) not in html
        assert str(home) not in client.get(f"/api{path}".rstrip("/")).text


def test_a_first_run_that_failed_is_not_told_of_as_none(tmp_path, open_client):
    (tmp_path / "runs" / "20270101-000000").mkdir(parents=True)
    front = open_client(tmp_path).get("/").text
    assert "no run has ended yet" in front
    assert "of the run before" not in front
    assert "– ago" not in front


def test_a_card_that_was_altered_says_nothing_of_the_quarantine(home, open_client):
    for path in (home / "cache").rglob("log/card.json"):
        path.write_text("{}")
    page = open_client(home).get("/data").text
    assert "The log and its quarantine are gone" in page
    assert "No row was set aside" not in page


def test_an_empty_home_is_shown_when_nothing_has_run(tmp_path, open_client):
    pages = walk(open_client(tmp_path / "nothing"))
    assert {*SECTIONS} <= {*pages}
    assert "Run the pipeline" in pages["/"]


def test_the_list_of_runs_is_turned_page_by_page(tmp_path, open_client):
    for number in range(120):
        folder = tmp_path / "runs" / f"run-{number:03d}"
        folder.mkdir(parents=True)
        write_json(folder / "summary.json", {"seconds": 1.0})
    client = open_client(tmp_path)
    assert page_count(120, 50) == 3
    last = client.get("/api/runs/page/3").json()
    assert [run["run_id"] for run in last["runs"]] == [f"run-{n:03d}" for n in range(19, -1, -1)]
    for path in ("/runs/page/4", "/runs/page/0", "/runs/page/x", "/runs/page/٣"):
        assert client.get(path).status_code == 404


def test_a_changed_summary_is_read_anew(home, client):
    newest = sorted((home / "runs").iterdir())[-1] / "summary.json"
    summary = json.loads(newest.read_text())
    write_json(newest, {**summary, "seconds": 61.5})
    assert client.get("/api/runs").json()["runs"][0]["seconds"] == 61.5


def test_views_do_not_share_a_path():
    patterns = [view.pattern for view in VIEWS]
    assert len(patterns) == len({*patterns})


def test_nothing_heavy_is_loaded(tmp_path: Path):
    make_home(tmp_path)
    code = """
import sys
from pathlib import Path
from slmrec.dashboard.export import export
from slmrec.dashboard.records import Records
from slmrec.registry.store import Registry
from datetime import UTC, datetime
home = Path(sys.argv[1])
export(Records(home, Registry(home / "registry"), lambda: datetime.now(UTC)), home / "out")
heavy = {"torch", "evidently", "great_expectations", "transformers", "google.cloud", "kfp"}
assert not heavy & {*sys.modules}, heavy & {*sys.modules}
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
