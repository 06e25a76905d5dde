import polars as pl
import pytest

from slmrec.evaluation.outcome import Evaluation
from slmrec.evaluation.plots.segments import segments_figure, segments_svg, shown_models
from slmrec.evaluation.plots.style import ACCENT
from slmrec.evaluation.sampled import Probe

KINDS = {
    "popularity": "baseline",
    "transitions": "baseline",
    "teacher": "teacher",
    "student": "student",
    "int8": "servable",
    "float32": "servable",
    "production": "production",
}


def segment(kind, name, enough, value, ci95):
    models = {name: {"value": value, "ci95": ci95} for name in KINDS}
    return {"kind": kind, "name": name, "users": 40, "enough_users": enough, "models": models}


@pytest.fixture
def evaluation():
    results = {
        "models": [{"name": name, "kind": kind} for name, kind in KINDS.items()],
        "segments": [
            segment("history", "light", True, 0.5, [0.25, 0.75]),
            segment("history", "new", False, 0.25, [0.0, 1.0]),
            segment("time", "quarter 1", True, 0.5, [0.4, 0.6]),
        ],
    }
    return Evaluation(results, pl.DataFrame(), Probe)


def test_few_models_are_drawn_the_candidate_first(evaluation):
    names = [model["name"] for model in shown_models(evaluation, "int8")]
    assert names == ["int8", "student", "transitions", "production"]
    assert [m["name"] for m in shown_models(evaluation, "student")][:2] == [
        "student",
        "transitions",
    ]


def test_a_panel_a_kind_holds_bars_of_each_model(evaluation):
    history, time = segments_figure(evaluation, "int8").axes
    assert len(history.patches) == 2 * 4
    assert len(time.patches) == 1 * 4
    assert [bar.get_height() for bar in history.patches] == [0.5] * 4 + [0.25] * 4


def test_groups_without_enough_users_are_hollow_said_and_do_not_set_the_scale(evaluation):
    history, _ = segments_figure(evaluation, "int8").axes
    solid, hollow = history.patches[0], history.patches[4]
    assert solid.get_facecolor()[3] > 0
    assert hollow.get_facecolor()[3] == 0
    assert [text.get_text() for text in history.texts] == ["not enough data"]
    assert history.get_ylim() == pytest.approx((0, 1.06 * 0.75))


def test_whiskers_are_the_intervals(evaluation):
    _, time = segments_figure(evaluation, "int8").axes
    assert [list(line.get_ydata()) for line in time.lines] == [[0.4, 0.6]] * 4


def test_the_figure_is_the_same_twice_also_without_groups(evaluation):
    assert segments_svg(evaluation, "int8") == segments_svg(evaluation, "int8")
    assert ACCENT in segments_svg(evaluation, "int8")
    evaluation.results["segments"] = []
    assert segments_svg(evaluation, "int8").rstrip().endswith("</svg>")
