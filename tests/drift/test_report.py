import json

from slmrec.config import MonitorDrift
from slmrec.drift.examples import Names
from slmrec.drift.monitor import monitor, summarise
from slmrec.drift.report import render, write_report
from slmrec.progress import Silent

QUICK = MonitorDrift(
    window_share=0.2,
    history_windows=2,
    min_users=20,
    permutations=199,
    false_discovery_rate=0.05,
)


def report_on(log, thresholds, config=QUICK):
    return monitor(log, config, thresholds, None, Silent())


def test_files_have_the_same_bytes_when_written_twice(make_log, any_effect, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(report_on(make_log(1, shift_at=0.7), any_effect), tmp_path / name, Names())
    for name in ("drift.json", "drift.svg", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert json.loads((tmp_path / "one" / "drift.json").read_text())["verdict"] == "drift"


def test_files_are_written_when_there_is_not_enough_data(make_log, any_effect, tmp_path):
    config = QUICK.model_copy(update={"min_users": 10_000})
    found = write_report(report_on(make_log(1), any_effect, config), tmp_path, Names())
    assert found["history"] == []
    assert "not enough data" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "drift.svg").stat().st_size > 0


def test_texts_are_escaped_when_they_hold_markup(make_log, any_effect):
    found = summarise(report_on(make_log(1, shift_at=0.7), any_effect), Names())
    found["alarms"][0]["sentence"] = "<script>alert(1)</script>"
    page = render(found, "<svg/>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
