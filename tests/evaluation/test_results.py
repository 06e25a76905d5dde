import dataclasses
import json
import re

import polars as pl
import pytest

from slmrec.artifacts import open_artifact
from slmrec.config import EvaluateModels
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.evaluation.results import save_evaluation, save_timings
from slmrec.evaluation.selection import Choice
from slmrec.evaluation.trainings import Block, Curve, Nearness, Trainings
from slmrec.models.machine import Machine

CONFIG = EvaluateModels(cutoffs=(1, 10), resamples=100)
HOSTILE = "<script>alert(1)</script>$x$"
TIME = {
    "batch1_p50": 0.5,
    "batch1_p95": 0.7,
    "batch_p50": 8.5,
    "batch_p95": 9.25,
    "users_per_second": 1234.0,
}
LOAD = {"load_ms": 41.2, "peak_mb": 105.3, "model_mb": 15.62}
TIMINGS = {"popularity": TIME, "student": TIME, HOSTILE: TIME | {"batch1_p50": 0.25} | LOAD}
CHOICE = Choice(HOSTILE, "the only one")
EPOCHS = [{"epoch": 1.0, "ce": 3.0, "ndcg@10": 0.2}, {"epoch": 2.0, "ce": 2.0, "ndcg@10": 0.3}]
NEARNESS = Nearness(1000, [Block(1, 0.875, 4.5), Block(2, 0.75, 6.0)], False, 0.0, 0.5, 0.625)
TRAININGS = Trainings([Curve("student", EPOCHS, 0.3)], ["teacher"], NEARNESS)
MACHINE = Machine(processor="P", threads=2, int8_instructions="AMX", onnxruntime="1")


@pytest.fixture(scope="module")
def evaluation(leave_one_out, fixed_scorer):
    sequences = leave_one_out([[1, 2, 3, 4 + user % 10] for user in range(35)], 20)

    def contender(name, kind, size):
        return Contender(name, kind, fixed_scorer(name, lambda history: [0.0] * 21, size))

    contenders = [
        contender("popularity", "baseline", 0),
        contender("student", "student", 100),
        contender(HOSTILE, "servable", 40),
    ]
    return evaluate(contenders, sequences, CONFIG)


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    def saved(evaluation, trainings=TRAININGS):
        place = tmp_path_factory.mktemp("timings") / "timings"
        return save_timings(place, evaluation, TIMINGS, CHOICE, MACHINE, trainings, CONFIG)

    return saved


@pytest.fixture(scope="module")
def timed(evaluation, save):
    """What is saved of the evaluation."""
    return save(evaluation)


def test_artifact_holds_the_evaluation_when_it_is_read_back(evaluation, tmp_path):
    save_evaluation(tmp_path / "evaluation", evaluation, CONFIG)
    artifact = open_artifact(tmp_path / "evaluation", "evaluation")
    assert artifact.json("metrics.json") == evaluation.results
    assert pl.read_parquet(artifact.file("ranks.parquet")).equals(evaluation.ranks)
    negatives = pl.read_parquet(artifact.file("negatives.parquet"))
    assert negatives["user_index"].to_list() == evaluation.probe.users.tolist()
    assert negatives["negatives"].to_numpy().tolist() == evaluation.probe.negatives.tolist()
    assert artifact.properties == {"users": 35, "headline": "ndcg@10"}


def test_bytes_are_the_same_when_the_evaluation_is(evaluation, tmp_path, save, timed):
    first = save_evaluation(tmp_path / "first", evaluation, CONFIG)
    second = save_evaluation(tmp_path / "second", evaluation, CONFIG)
    assert first.digest == second.digest
    assert save(evaluation).digest == timed.digest


def test_timings_hold_the_choice_and_the_machine(evaluation, tmp_path):
    saved = save_evaluation(tmp_path / "e", evaluation, CONFIG)
    inputs = {"evaluation": saved}
    timed = save_timings(
        tmp_path / "t", evaluation, TIMINGS, CHOICE, MACHINE, TRAININGS, CONFIG, inputs
    )
    assert timed.kind == "timings"
    assert json.loads(timed.file("timings.json").read_text()) == TIMINGS
    assert timed.json("choice.json") == {
        "name": HOSTILE,
        "reason": "the only one",
        "machine": MACHINE,
    }
    assert timed.inputs == {"evaluation": saved.digest}


def test_page_escapes_names_when_they_are_hostile(timed):
    page = timed.file("report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    for name in ("quality.svg", "cost.svg", "segments.svg"):
        assert "<script" not in timed.file(name).read_text()


def test_page_shows_quality_and_cost_of_every_timed_model(timed):
    page = timed.file("report.html").read_text()
    table = page[page.index("64 users at once") :]
    rows = [
        re.findall("<td>(.*?)</td>", row)
        for row in re.findall("<tr.*?</tr>", table[: table.index("</table>")])
    ]
    assert [row for row in rows if row] == [
        ["popularity", "0.50", "0.70", "8.50", "9.25", "1,234", "–", "–", "–", "0.00"],
        ["student", "0.50", "0.70", "8.50", "9.25", "1,234", "–", "–", "–", "0.00"],
        [
            "&lt;script&gt;alert(1)&lt;/script&gt;$x$",
            *("0.25", "0.70", "8.50", "9.25", "1,234", "41", "105", "15.6", "0.00"),
        ],
    ]
    assert "P, 2 threads; ONNX Runtime 1, int8 products by AMX" in page


def test_page_needs_nothing_from_outside_when_it_is_opened(timed):
    page = timed.file("report.html").read_text()
    sources = re.findall(r"(?:src|href)=\"([^\"]*)", page)
    assert len(sources) == 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "below 30 a bootstrap means nothing" not in page


def test_page_warns_when_users_are_few(evaluation, save):
    results = {**evaluation.results, "users": 8, "enough_users": False}
    few = dataclasses.replace(evaluation, results=results)
    assert "Not enough data: 8 users" in save(few).file("report.html").read_text()


def test_figures_carry_no_date_when_written(timed):
    figures = [name for name in timed.files if name.endswith(".svg")]
    assert sorted(figures) == [
        *("cost.svg", "curves.svg", "distillation.svg", "quality.svg", "segments.svg")
    ]
    for name in figures:
        text = timed.file(name).read_text()
        assert "dc:date" not in text
        assert text.rstrip().endswith("</svg>")


def test_the_card_says_what_is_known_of_the_candidate(evaluation, timed):
    card = timed.file("card.md").read_text()
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows[:5]] == [
        "| model",
        "| ---",
        "| popularity",
        "| student",
        "| &lt;script&gt;alert(1)&lt;/script&gt;$x$ (this one)",
    ]
    assert "<script" not in card
    assert "35 people, the next item of each" in card
    assert "not enough data" in card  # quarters of 35 people
    assert evaluation.results["shortcuts"]["sentence"] in card
    assert "undefined" not in card.lower()
    assert "64 users at once, milliseconds, median and 95th percentile | 8.50, 9.25 |" in card
    assert "| 105, of them 15.6 on top of its libraries |" in card


def test_page_and_card_say_which_version_serves_when_one_took_part(evaluation, save, timed):
    results = {**evaluation.results, "production": "7"}
    beside = save(dataclasses.replace(evaluation, results=results))
    for name in ("report.html", "card.md"):
        assert "is version 7 of the registry" in beside.file(name).read_text()
        assert "of the registry" not in timed.file(name).read_text()


def test_page_says_in_words_what_the_figures_of_trainings_show(timed):
    page = timed.file("report.html").read_text()
    assert "student: best after epoch 2, .3000." in page
    assert "was not validated while it learned: teacher." in page
    assert "puts first what its teacher puts first in 62.5% of the cases" in page
    described = 'block 1 cosine 0.875, distance 4.50; block 2 cosine 0.750, distance 6.00"'
    assert described in page


def test_page_does_without_figures_of_trainings_when_nothing_is_known(evaluation, save):
    bare = save(evaluation, trainings=Trainings(without_curve=["student"]))
    page = bare.file("report.html").read_text()
    assert not {"curves.svg", "distillation.svg"} & bare.files
    assert "Without a curve, since it was not validated while it learned: student." in page
    assert "The student's artifact does not say." in page


def test_page_names_the_groups_that_are_too_small(evaluation, save, timed):
    assert "Hollow groups have too few users" in timed.file("report.html").read_text()
    large = [{**group, "enough_users": True} for group in evaluation.results["segments"]]
    whole = dataclasses.replace(evaluation, results={**evaluation.results, "segments": large})
    assert "Hollow groups" not in save(whole).file("report.html").read_text()
