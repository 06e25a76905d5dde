import pytest

from slmrec.artifacts import open_artifact, publish, write_json
from slmrec.evaluation.trainings import Block, Curve, Nearness, Trainings

HISTORY = [
    {"epoch": 1.0, "ce": 3.0, "cosine": 0.5},
    {"epoch": 2.0, "ce": 2.0, "cosine": 0.25, "ndcg@10": 0.25},
    {"epoch": 3.0, "ce": 1.5, "cosine": 0.25},
    {"epoch": 4.0, "ce": 1.0, "cosine": 0.25, "ndcg@10": 0.25},
]
DISTANCE = {
    "positions": 2000,
    "projected": False,
    "blocks": [{"block": 1, "cosine": 0.9, "distance": 4.5}],
    "certified_share": 0.125,
    "same_first_share": 0.75,
    "teacher_first_share": 0.625,
}


@pytest.fixture
def trained(tmp_path):
    """Publish what a training step writes, without the weights."""

    def make(kind, history=HISTORY, best=0.25, **files):
        with publish(tmp_path / kind, kind) as staging:
            training = {"history": history, "best_ndcg": best, "best_epoch": 2}
            write_json(staging / "training.json", training)
            for name, content in files.items():
                write_json(staging / f"{name}.json", content)
        return open_artifact(tmp_path / kind)

    return make


def test_a_curve_has_its_first_highest_point_and_the_sum_of_its_losses():
    curve = Curve("student", HISTORY, 0.25)
    assert curve.validated == [(2.0, 0.25), (4.0, 0.25)]
    assert curve.best == (2.0, 0.25)
    assert curve.terms == ["ce", "cosine"]
    assert curve.losses == [(1.0, 3.5), (2.0, 2.25), (3.0, 1.75), (4.0, 1.25)]


def test_what_artifacts_hold_is_read_under_the_names_of_the_models(trained):
    found = Trainings.read({"sasrec": trained("sasrec"), "student": trained("student")})
    assert [curve.name for curve in found.curves] == ["sasrec", "student"]
    assert found.curves[0].history == HISTORY
    assert found.without_curve == []
    assert found.nearness is None
    assert found.sentences() == (
        "sasrec: best after epoch 2, .2500. student: best after epoch 2, .2500."
    )


def test_a_model_is_left_out_and_named_when_it_was_never_validated(trained, tmp_path):
    unseen = trained("teacher", [{"epoch": 1.0, "ce": 3.0}], -1.0)
    with publish(tmp_path / "bare", "sasrec"):
        pass
    models = {"sasrec": open_artifact(tmp_path / "bare"), "teacher": unseen}
    found = Trainings.read(models)
    assert found.curves == []
    assert found.sentences().endswith("not validated while it learned: sasrec, teacher.")


def test_an_ensemble_is_said_to_be_a_mean_and_what_it_reaches_as_a_whole(trained):
    found = Trainings.read({"teacher": trained("teacher", best=0.375, ensemble={})})
    assert "curve of teacher is the mean over the networks" in found.sentences()
    assert "teacher reaches .3750 on validation" in found.sentences()


def test_nearness_is_the_student_s_own_report(trained):
    found = Trainings.read({"student": trained("student", report=DISTANCE)}).nearness
    assert found == Nearness(2000, [Block(1, 0.9, 4.5)], False, 0.125, 0.75, 0.625)
    said = found.sentences()
    assert "On 2,000 training positions" in said
    assert "in 62.5% of the cases" in said
    assert "agree on the first item in 75.0%; in 12.5%" in said


def test_nearness_of_projected_states_promises_no_certificate():
    projected = {"projected": True, "certified_share": None, "same_first_share": None}
    said = Nearness.of({**DISTANCE, **projected}).sentences()
    assert "projected ones" in said
    assert "Cauchy" not in said


def test_a_sentence_says_so_when_no_loss_held_the_states():
    projected = {"projected": True, "certified_share": None, "same_first_share": None}
    said = Nearness.of({**DISTANCE, **projected, "blocks": []}).sentences()
    assert "it learned from scores alone" in said
    assert "projected ones" not in said
