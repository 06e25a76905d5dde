import json
from pathlib import Path

import pytest

from slmrec.config import ValidateData
from slmrec.data.validate import failure_message, quarantine_check, validate, write_verdict
from slmrec.progress import Silent

SUITES = Path(__file__).resolve().parents[2] / "validation" / "expectations"
GOOD = "user,item,timestamp\nu1,i1,10\nu2,i2,20\nu1,i2,30\n"
HOSTILE = "<script>alert(1)</script>"


def test_a_log_passes_when_it_is_sound(ingested):
    verdict = validate(ingested(GOOD), {}, ValidateData(), SUITES, Silent())
    assert verdict.success, verdict.failures
    assert {check.suite for check in verdict.checks} == {
        "interactions",
        "items",
        "histories",
        "quarantine",
    }


def test_the_share_decides_when_rows_are_quarantined():
    card = {"quarantined": 1, "rows_in": 20, "quarantine_reasons": {"missing time": 1}}
    assert quarantine_check(card, 0.05).success
    refused = quarantine_check(card, 0.049)
    assert not refused.success
    assert (refused.unexpected, refused.rows) == (1, 20)


def test_the_page_escapes_when_values_are_hostile(ingested, tmp_path):
    log = ingested(
        GOOD + f"{HOSTILE},i3,never\n",
        items=f"item,title\ni1,{HOSTILE + 'x' * 5000}\n",
    )
    verdict = validate(log, {}, ValidateData(), SUITES, Silent())
    assert [check.suite for check in verdict.failures] == ["items", "quarantine"]
    write_verdict(tmp_path, verdict)
    page = (tmp_path / "validation.html").read_text()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2
    results = json.loads((tmp_path / "validation.json").read_text())
    assert results["success"] is False
    assert len(results["checks"]) == len(verdict.checks)


def test_the_message_names_the_rule_and_rows_when_a_log_fails(ingested):
    text = "user,item,timestamp\nu1,i1,10\nu1,i2,20\nu1,i1,30\n"  # one user only
    verdict = validate(ingested(text), {}, ValidateData(), SUITES, Silent())
    message = failure_message(verdict, Path("out/validation.html"))
    assert all(
        word in message
        for word in (
            "suite histories",
            "users failed",
            "found 1, expected at least 2",
            "out/validation.html",
        )
    )
    items = ingested(GOOD, items=f"item,title\ni1,{'x' * 5000}\ni2,ok\n")
    message = failure_message(validate(items, {}, ValidateData(), SUITES, Silent()), Path("p"))
    assert "1 of 2 rows break it" in message


def test_ties_are_told_when_most_times_are_shared(ingested):
    spoken = []

    class Listener(Silent):
        def say(self, message):
            spoken.append(message)

    text = "user,item,timestamp\n" + "".join(f"u1,i{i},10\n" for i in range(8)) + "u2,i1,20\n"
    validate(ingested(text), {}, ValidateData(suites=()), SUITES, Listener())
    assert len(spoken) == 1
    assert "89 %" in spoken[0]


@pytest.mark.parametrize("name", ["interactions", "items"])
def test_the_shipped_suite_says_what_it_is_about_when_read(name):
    content = json.loads((SUITES / f"{name}.json").read_text())
    assert content["meta"]["table"] == name
    assert content["expectations"]
