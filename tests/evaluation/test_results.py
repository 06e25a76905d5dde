import json
import re

import polars as pl
import pytest

from slmrec.artifacts import open_artifact
from slmrec.config import EvaluateModels
from slmrec.evaluation.evaluate import Contender, evaluate
from slmrec.evaluation.results import save_evaluation, save_timings

CONFIG = EvaluateModels(cutoffs=(1, 10), resamples=100)
HOSTILE = "<script>alert(1)</script>$x$"


@pytest.fixture
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


def test_artifact_holds_the_evaluation_when_it_is_read_back(evaluation, tmp_path):
    save_evaluation(tmp_path / "evaluation", evaluation, CONFIG)
    artifact = open_artifact(tmp_path / "evaluation", "evaluation")
    assert artifact.json("metrics.json") == evaluation.results
    assert pl.read_parquet(artifact.file("ranks.parquet")).equals(evaluation.ranks)
    assert artifact.properties == {"users": 35, "headline": "ndcg@10", "candidate": HOSTILE}


def test_bytes_are_the_same_when_the_evaluation_is(evaluation, tmp_path):
    first = save_evaluation(tmp_path / "first", evaluation, CONFIG)
    second = save_evaluation(tmp_path / "second", evaluation, CONFIG)
    assert first.digest == second.digest


def test_page_escapes_names_when_they_are_hostile(evaluation, tmp_path):
    artifact = save_evaluation(tmp_path / "evaluation", evaluation, CONFIG)
    page = artifact.file("report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in artifact.file("quality.svg").read_text()


def test_page_needs_nothing_from_outside_when_it_is_opened(evaluation, tmp_path):
    page = save_evaluation(tmp_path / "e", evaluation, CONFIG).file("report.html").read_text()
    sources = re.findall(r"(?:src|href)=\"([^\"]*)", page)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "not enough data" not in page.lower()


def test_page_warns_when_users_are_few(evaluation, tmp_path):
    few = type(evaluation)(
        {**evaluation.results, "users": 8, "enough_users": False}, pl.DataFrame()
    )
    page = save_evaluation(tmp_path / "e", few, CONFIG).file("report.html").read_text()
    assert "Not enough data: 8 users" in page


def test_figures_carry_no_date_when_written(evaluation, tmp_path):
    timings = {"student": {"batch1_p50": 0.5, "batch1_p95": 0.7, "users_per_second": 100.0}}
    saved = save_evaluation(tmp_path / "e", evaluation, CONFIG)
    timed = save_timings(tmp_path / "t", evaluation, timings, CONFIG, {"evaluation": saved})
    assert timed.kind == "timings"
    assert json.loads(timed.file("timings.json").read_text()) == timings
    assert timed.inputs == {"evaluation": saved.digest}
    for path in (saved.file("quality.svg"), timed.file("cost.svg")):
        text = path.read_text()
        assert "dc:date" not in text
        assert text.rstrip().endswith("</svg>")
