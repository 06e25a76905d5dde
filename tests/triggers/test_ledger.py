from dataclasses import replace
from datetime import timedelta

import pytest

from slmrec.errors import ArtifactError, RegistryConflict
from slmrec.storage.documents import ABSENT
from slmrec.triggers.ledger import CLAIM_TIME, Ledger, StartedRun, Triggers
from tests.triggers.facts import FILES, NOW

RUN = StartedRun("run-1", {"data": "k1", "code": "k2"}, NOW.isoformat(), "digest", FILES)


def there(run):
    return replace(run, id="runs/1", link="https://here")


def test_a_run_is_read_as_it_was_entered(documents):
    triggers = Triggers(documents)
    assert triggers.read() == Ledger()
    assert triggers.replace(triggers.read().entered(RUN))
    assert triggers.read().runs == (RUN,)
    triggers.change(lambda ledger: ledger.started(there(RUN)))
    assert triggers.read().runs == (there(RUN),)
    triggers.change(lambda ledger: ledger.without(RUN))
    assert triggers.read().runs == ()


def test_of_two_who_read_the_same_one_enters_a_run(documents):
    triggers = Triggers(documents)
    mine, yours = triggers.read(), triggers.read()
    assert triggers.replace(mine.entered(RUN))
    assert not triggers.replace(yours.entered(replace(RUN, name="run-2")))
    assert [run.name for run in triggers.read().runs] == ["run-1"]


def test_a_run_answers_the_reasons_it_was_started_for_and_no_others():
    ledger = Ledger((RUN,))
    assert ledger.answer("k1") == ledger.answer("k2") == RUN
    assert ledger.answer("k3") is None
    assert ledger.answer("code") is None


def test_a_run_is_abandoned_when_its_start_takes_too_long():
    ledger = Ledger((there(RUN), replace(RUN, name="run-2")))
    assert ledger.abandoned(NOW + CLAIM_TIME - timedelta(seconds=1)) == []
    assert [run.name for run in ledger.abandoned(NOW + CLAIM_TIME)] == ["run-2"]


def test_files_are_kept_of_the_newest_run_that_was_started():
    later = replace(RUN, name="run-2", time=(NOW + CLAIM_TIME).isoformat())
    ledger = Ledger().entered(RUN).started(there(RUN)).entered(later)
    assert [run.files for run in ledger.runs] == [FILES, FILES]  # the second may be taken back
    assert [run.files for run in ledger.without(later).runs] == [FILES]
    assert [run.files for run in ledger.started(there(later)).runs] == [None, FILES]


def test_files_of_a_later_run_stay_when_an_earlier_one_is_found():
    later = replace(RUN, name="run-2", time=(NOW + CLAIM_TIME).isoformat())
    ledger = Ledger().entered(RUN).entered(later).started(there(later))
    assert [run.files for run in ledger.runs] == [FILES, FILES]
    found = ledger.started(there(RUN))
    assert [(run.name, run.files) for run in found.runs] == [("run-1", None), ("run-2", FILES)]


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{",
        b'{"runs": [{}]}',
        b'{"runs": 7}',
        b'{"runs": [{"time": "2026-01-01", "files": null}]}',
    ],
)
def test_the_document_is_named_when_it_is_another_thing(documents, content):
    documents.replace("triggers.json", content, ABSENT)
    with pytest.raises(ArtifactError, match=r"triggers\.json: not the runs that were triggered"):
        Triggers(documents).read()


def test_the_place_is_named_when_others_always_come_first(documents, monkeypatch):
    triggers = Triggers(documents)
    monkeypatch.setattr(Triggers, "replace", lambda self, ledger: False)
    monkeypatch.setattr("slmrec.triggers.ledger.ATTEMPTS", 3)
    with pytest.raises(RegistryConflict, match=r"triggers\.json: 3 times another process"):
        triggers.change(lambda ledger: ledger)
