"""Row 14: hostile ids and titles stay texts in every page, report, figure and log."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from litestar.testing import TestClient
from pydantic import ValidationError
from rich.progress import Progress, TextColumn
from rich.table import Table
from typer.testing import CliRunner

from components.runtime import step
from pipeline.cli import app, main
from pipeline.console import RunDisplay, print_summary
from pipeline.terminal import PlainLog, Terminal, print_json
from slmrec.config import EvaluateModels, MonitorDrift, Variant
from slmrec.dashboard.app import create_app
from slmrec.dashboard.export import export
from slmrec.dashboard.records import Records
from slmrec.dashboard.security import Access
from slmrec.data.checks import Check
from slmrec.data.validate import Verdict, write_verdict
from slmrec.drift.examples import Names
from slmrec.drift.monitor import monitor, summarise
from slmrec.drift.report import render
from slmrec.drift.thresholds import NAMES, DriftThresholds
from slmrec.errors import DataError
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.evaluation.results import save_evaluation, save_timings
from slmrec.evaluation.selection import Choice
from slmrec.evaluation.trainings import Curve, Trainings
from slmrec.models.machine import Machine
from slmrec.progress import LogLines, Silent
from slmrec.progress import Progress as Reports
from slmrec.registry.store import Registry
from tests.dashboard.conftest import HERE, walk
from tests.dashboard.homes import NOW, make_home
from tests.drift.conftest import random_log
from tests.evaluation.conftest import FixedScorer
from tests.faults.conftest import Tell
from tests.faults.hostile_text import EVERY, OBEYED, TERMINAL, compare

STORED = tuple(word for word in EVERY if not re.search("[\ud800-\udfff]", word))
"""Those that a file can hold: half a letter is no text in UTF-8."""
NAMES_OF_MODELS = tuple(word for word in STORED if word.isprintable())
"""A figure cannot draw the others, and settings let none of them be a variant's name."""
OURS = re.compile(r"\x1b\[[0-9;]*m")
"""Styles that the command line gives itself."""


def validation_page(words: tuple[str, ...], folder: Path) -> dict[str, str]:
    """The page of `validate_data` where every text is one of the words."""
    checks = [Check(*(word,) * 4, False, 10, 3, word, (word, word), word) for word in words]
    card = {
        "rows_in": 10,
        "kept": 7,
        "quarantined": 3,
        "quarantine_reasons": dict.fromkeys(words, 1),
    }
    card |= {"filtered": 0, "files": 1, "order_only": False, "described_items": 3}
    card |= {"first": 0, "last": 10**9, "users": 3, "items": 3, "time_format": words[0]}
    rows = [dict.fromkeys(("file", "reason", "text"), word) | {"line": 1} for word in words]
    verdict = Verdict(tuple(checks), card, tuple(rows))
    write_verdict(folder, verdict)
    return {"validation": (folder / "validation.html").read_text()}


def drift_page(words: tuple[str, ...], folder: Path) -> dict[str, str]:
    """The page of `monitor_drift` where every name is one of the words."""
    config = MonitorDrift(window_share=0.2, history_windows=2, min_users=20, permutations=199)
    thresholds = DriftThresholds(**dict.fromkeys(NAMES, 0.0))
    many = words * 200
    names = Names(ids=("", *many), titles=("", *many), users=many)
    log = random_log(1, shift_at=0.7)
    found = summarise(monitor(log, config, thresholds, None, Silent()), names)
    for place, alarm in enumerate(found["alarms"]):
        alarm["sentence"] = words[place % len(words)]
    assert json.loads(json.dumps(found)) == found
    pages = {}
    for start in range(0, len(words), 5):  # a page shows a few
        found["reason"] = words[start]
        for place, moved in enumerate(found["moved_items"]):
            moved["title"] = moved["item_id"] = words[(start + place) % len(words)]
        pages[f"drift {start}"] = render(found, "<svg/>")
    return pages


def evaluation_pages(words: tuple[str, ...], folder: Path) -> dict[str, str]:
    """The report, the model card and the figures of an evaluation of models that are so called."""
    from tests.conftest import leave_two_out

    config = EvaluateModels(cutoffs=(1, 10), resamples=100)
    sequences = leave_two_out([[1, 2, 3, 4 + user % 10] for user in range(35)])
    pages = {}
    for start in range(0, len(words), 12):
        part = words[start : start + 12]
        size = sequences.item_count + 1
        scorers = [
            FixedScorer(name, lambda history, size=size: [0.0] * size, 100 + place)
            for place, name in enumerate(["popularity", "student", "teacher", *part])
        ]
        kinds = ["baseline", "student", "teacher", *["servable"] * len(part)]
        contenders = [
            Contender(scorer.name, kind, scorer)
            for scorer, kind in zip(scorers, kinds, strict=True)
        ]
        time = {"batch1_p50": 0.5, "batch1_p95": 0.7, "batch_p50": 8.5, "batch_p95": 9.25}
        timings = {scorer.name: time | {"users_per_second": 1234.0} for scorer in scorers}
        machine = Machine(processor=part[0], threads=2, int8_instructions="AMX", onnxruntime="1")
        epochs = [
            {"epoch": 1.0, "ce": 3.0, "ndcg@10": 0.2},
            {"epoch": 2.0, "ce": 2.0, "ndcg@10": 0.3},
        ]
        trainings = Trainings([Curve(part[0], epochs, 0.3)], [], None)
        found = evaluate(contenders, sequences, config)
        place = folder / f"timings {start}"
        choice = Choice(part[0], part[-1])
        saved = save_timings(place, found, timings, choice, machine, trainings, config)
        save_evaluation(folder / f"evaluation {start}", found, config)
        for name in saved.files:
            if name.endswith((".html", ".md", ".svg")):
                pages[f"{name} {start}"] = saved.file(name).read_text()
    return pages


WRITERS: dict[str, Callable[[tuple[str, ...], Path], dict[str, str]]] = {
    "validation": validation_page,
    "drift": drift_page,
    "evaluation": evaluation_pages,
}


def dashboard_pages(words: tuple[str, ...], folder: Path) -> dict[str, str]:
    """Every page and twin of the dashboard of a home in which every text is one of the words."""
    home = folder / "home"
    make_home(home, words, runs=len(words))
    registry = Registry(home / "registry")
    application = create_app(home, registry, Access(actor="ann"), lambda: NOW)
    with TestClient(application, base_url=HERE, raise_server_exceptions=False) as client:
        pages = {path: page for path, page in walk(client).items() if "/reports/" not in path}
        for path in [*pages]:
            json.loads(client.get(f"/api{path}".rstrip("/")).text)
    export(Records(home, registry, lambda: NOW), folder / "export")
    for path in (folder / "export").rglob("*.html"):
        pages[f"export {path.relative_to(folder)}"] = path.read_text()
    return pages


def check(hostile: dict[str, str], plain: dict[str, str]) -> None:
    """Check pages by what they are made of."""
    known = {
        name: [text for key, text in plain.items() if suffix(key) == name] for name in SUFFIXES
    }
    for name, page in hostile.items():
        assert not OBEYED.search(page), (name, OBEYED.search(page))
        if suffix(name) == ".svg":
            tags = {
                element.tag.rpartition("}")[2] for element in ElementTree.fromstring(page).iter()
            }
            assert not {"script", "foreignObject", "a"} & tags, name
        elif suffix(name) == ".md":
            assert "<script" not in page
            assert "<img" not in page
        else:
            compare(page, "".join(known[".html"]))


SUFFIXES = (".html", ".md", ".svg")


def suffix(name: str) -> str:
    """What kind of page a name stands for."""
    return next((one for one in SUFFIXES if one in name), ".html")


@pytest.mark.parametrize("writer", WRITERS)
def test_hostile_texts_stay_texts_when_a_step_writes_its_report(
    writer: str, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "hostile").mkdir()
    words = NAMES_OF_MODELS[:8] if writer == "evaluation" else STORED  # a minute for all
    plain = WRITERS[writer](tuple(f"plain{n}" for n in range(len(words))), tmp_path / "plain")
    hostile = WRITERS[writer](words, tmp_path / "hostile")
    check(hostile, plain)


@pytest.mark.parametrize("text", EVERY, ids=range(len(EVERY)))
def test_a_model_is_not_called_so_when_a_setting_says_it(text: str) -> None:
    with pytest.raises(ValidationError):
        Variant(name=text)


@pytest.mark.faults
def test_hostile_texts_stay_texts_on_every_page_of_the_dashboard(
    tmp_path: Path, tell: Tell
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "hostile").mkdir()
    plain = dashboard_pages(("plain", "other"), tmp_path / "plain")
    hostile = dashboard_pages(STORED, tmp_path / "hostile")
    extra = "<nav><details><summary><small><ul><li></ul></details></nav>"  # of long lists
    check(hostile, plain | {"extra": extra})
    written = 0
    for name, write in WRITERS.items():
        (tmp_path / name).mkdir()
        words = NAMES_OF_MODELS if name == "evaluation" else STORED
        (tmp_path / f"plain {name}").mkdir()
        known = write(tuple(f"plain{n}" for n in range(len(words))), tmp_path / f"plain {name}")
        found = write(words, tmp_path / name)
        check(found, known)
        written += len(found)
    tell(
        14,
        "hostile ids and titles are inert",
        "≥ 30 payloads × every page, report and log",
        f"{len(EVERY)} texts: {len(hostile)} pages of the dashboard and its export, {written} reports, "
        f"cards and figures, and what the command line and logs print: none obeyed",
    )


def harmless(text: str, lines: int | None = None) -> str:
    """Check what a terminal would get: our own styles, and nothing else to obey."""
    plain = OURS.sub("", text)
    assert not OBEYED.search(plain), OBEYED.search(plain)
    if lines is not None:
        assert plain.count("\n") == lines, plain
    return plain


def terminal(**options: object) -> tuple[Terminal, io.StringIO]:
    """A terminal that keeps what it is sent."""
    out = io.StringIO()
    return Terminal(file=out, force_terminal=True, width=200, **options), out


@pytest.mark.parametrize("text", EVERY, ids=range(len(EVERY)))
def test_a_text_is_shown_and_not_obeyed_when_it_is_printed(text: str) -> None:
    console, out = terminal()
    console.print(text, soft_wrap=True)
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(table)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as bar:
        bar.add_task(text, total=1)
        bar.console.print(text)
    shown = re.sub(r"\x1b\[(\?25[lh]|[0-9]*[AKG])", "", out.getvalue()).replace("\r", "")
    plain = harmless(shown)
    if "[" in text and not OBEYED.search(text) and "\n" not in text and len(text) < 100:
        assert text in plain  # no markup of Rich's was taken out


@pytest.mark.parametrize("text", EVERY, ids=range(len(EVERY)))
def test_a_run_stays_a_line_a_step_when_steps_say_hostile_things(text: str) -> None:
    console, out = terminal()
    shown = RunDisplay(console, {"interactions": "log.csv"})
    done = {"seconds": 1.0, "headline": text}
    for event in (
        {"event": "message", "step": "ingest_interactions", "text": text},
        {"event": "finished", "step": "ingest_interactions", "metadata": done},
        {"event": "cached", "step": "ingest_interactions", "metadata": done},
    ):
        shown.on_event(event)
    harmless(out.getvalue(), lines=3)
    console, out = terminal()
    gate = {"name": text, "passed": False, "found": text, "required": text}
    summary = {
        "models": [],
        "student_over_teacher": {},
        "candidate": {"name": text, "reason": text},
        "decision": {"retrain": True, "reason": text},
        "drift": {"verdict": text, "alarms": [{"sentence": text}]},
        "gates": [gate],
        "promoted": None,
        "promotion": text,
        "places": {"run": text, "registry": text},
        "seconds": 1.0,
    }
    print_summary(console, summary)
    harmless(out.getvalue(), lines=10)


@pytest.mark.parametrize("text", EVERY, ids=range(len(EVERY)))
def test_a_log_line_stays_one_when_a_message_is_hostile(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = LogLines("ingest_interactions", every_seconds=0)
    reports.say(text)
    reports.update(1, 2, text)
    harmless(capsys.readouterr().err, lines=2)


@pytest.mark.parametrize("text", EVERY, ids=range(len(EVERY)))
def test_an_error_is_harmless_when_a_name_in_it_is_not(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = f"{text}: no column for user_id"
    harmless(str(DataError(message)))

    @step("ingest_interactions")
    def fail(progress: Reports) -> dict[str, object]:
        raise DataError(message)

    with pytest.raises(SystemExit):
        fail()
    harmless(capsys.readouterr().err)

    def refuse() -> None:
        raise DataError(message)

    monkeypatch.setattr("pipeline.cli.app", refuse)
    with pytest.raises(SystemExit):
        main()
    harmless(capsys.readouterr().err)


@pytest.mark.parametrize("text", EVERY, ids=range(len(EVERY)))
def test_json_keeps_its_value_when_it_is_printed(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_json({"title": text})
    printed = capsys.readouterr().out
    assert not OBEYED.search(printed)
    assert json.loads(printed) == {"title": text}


def test_the_log_of_the_engine_is_plain_when_steps_print_sequences() -> None:
    kept = io.StringIO()
    with contextlib.redirect_stdout(PlainLog(kept)):
        print("\x1b[96mtask\x1b[0m began")
        for text in TERMINAL:
            print(text)
    assert not OBEYED.search(kept.getvalue())
    assert kept.getvalue().startswith("task began\n")


def test_the_registry_lists_hostile_names_as_they_are(tmp_path: Path) -> None:
    make_home(tmp_path, STORED, runs=1)
    for arguments in (["list"], ["decisions"], ["show", "3"], ["diff", "1", "3"]):
        result = CliRunner().invoke(app, ["registry", *arguments, "--home", str(tmp_path)])
        assert result.exit_code == 0, result.output
        harmless(result.output)
