"""The steps of the training branch, one after another on sequences that can be learned by heart."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from components.cache_teacher.step import run as cache_teacher
from components.distill_student.step import run as distill_student
from components.pretrain_items.step import run as pretrain_items
from components.prune_student.step import run as prune_student
from components.quantize_student.step import run as quantize_student
from components.runtime import CHECKPOINTS_VARIABLE
from components.train_teacher.step import run as train_teacher
from slmrec.artifacts import open_artifact
from slmrec.config import CacheTeacher, EnsembleMembers, Variant
from slmrec.models.checkpoint import load_decoder
from slmrec.models.loading import load_scorer
from tests.components.tiny_steps import QUICK, SASREC, STUDENT, TEACHER, publish_circles


@dataclass
class Branch:
    """Where the steps left their artifacts, and what they said."""

    folder: Path
    metadata: dict

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Branch:
    made = Branch(tmp_path_factory.mktemp("branch"), {})
    at, said = made.path, made.metadata
    publish_circles(Path(at("sequences")))
    said["sasrec"] = pretrain_items(at("sequences"), SASREC.to_json(), at("sasrec"))
    said["teacher"] = train_teacher(at("sequences"), at("sasrec"), TEACHER.to_json(), at("teacher"))
    for number in range(2):
        said[f"cache{number}"] = cache_teacher(
            at("sequences"),
            at("teacher"),
            f"{number}/2",
            CacheTeacher(blocks=1).to_json(),
            at(f"cache{number}"),
        )
    said["student"] = distill_student(
        at("sequences"),
        at("teacher"),
        [at("cache1"), at("cache0")],
        STUDENT.to_json(),
        at("student"),
    )
    return made


def test_every_model_is_an_artifact_with_its_training_and_curves(branch: Branch) -> None:
    for kind in ("sasrec", "teacher", "student"):
        artifact = open_artifact(branch.path(kind), kind)
        assert {
            "weights.safetensors",
            "shape.json",
            "training.json",
            "curves.svg",
        } <= artifact.files
        assert branch.metadata[kind]["digests"].popitem()[1] == artifact.digest
        assert branch.metadata[kind]["train_seconds"] > 0
        curve = artifact.json("training.json")["history"]
        assert [entry["epoch"] for entry in curve] == [1.0, 2.0]
        assert curve[1]["ce"] < curve[0]["ce"]


def test_lineage_is_recorded(branch: Branch) -> None:
    digests = {
        name: open_artifact(branch.path(name)).digest
        for name in ("sequences", "sasrec", "teacher", "cache0", "cache1")
    }
    assert open_artifact(branch.path("teacher")).inputs == {
        "sequences": digests["sequences"],
        "items_model": digests["sasrec"],
    }
    assert open_artifact(branch.path("student")).inputs == {
        "sequences": digests["sequences"],
        "teacher": digests["teacher"],
        "cache-0": digests["cache0"],
        "cache-1": digests["cache1"],
    }


def test_teacher_starts_from_the_pretrained_items(branch: Branch, tmp_path: Path) -> None:
    config = TEACHER.model_copy(
        update={"training": QUICK.model_copy(update={"learning_rate": 1e-12, "epochs": 1})}
    )
    train_teacher(
        branch.path("sequences"), branch.path("sasrec"), config.to_json(), str(tmp_path / "t")
    )
    table = load_decoder(open_artifact(tmp_path / "t")).items.weight.detach().numpy()
    from slmrec.models.checkpoint import item_vectors

    np.testing.assert_allclose(table, item_vectors(open_artifact(branch.path("sasrec"))), atol=1e-6)


def test_user_is_told_when_the_teacher_is_not_better_than_sasrec(
    branch: Branch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TEACHER.model_copy(
        update={
            "item_embeddings": "random",
            "training": QUICK.model_copy(update={"learning_rate": 1e-12, "epochs": 1}),
        }
    )
    train_teacher(
        branch.path("sequences"), branch.path("sasrec"), config.to_json(), str(tmp_path / "t")
    )
    said = capsys.readouterr().err
    assert re.search(r"validation NDCG@10: teacher 0\.\d{4}, SASRec 0\.\d{4}\. The teacher", said)
    assert "not better than SASRec" in said


@pytest.mark.parametrize("name", ["sasrec", "teacher", "student"])
def test_interrupted_step_goes_on_and_gives_the_same_artifact(
    branch: Branch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    at, out = branch.path, str(tmp_path / "out")
    steps = {
        "sasrec": lambda: pretrain_items(at("sequences"), SASREC.to_json(), out),
        "teacher": lambda: train_teacher(at("sequences"), at("sasrec"), TEACHER.to_json(), out),
        "student": lambda: distill_student(
            at("sequences"), at("teacher"), [at("cache0"), at("cache1")], STUDENT.to_json(), out
        ),
    }
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, str(tmp_path / "checkpoints"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("slmrec.training.loop.validate", interrupt)  # after epoch 2
        with pytest.raises(KeyboardInterrupt):
            steps[name]()
    assert len(list((tmp_path / "checkpoints").glob("*/epoch-000001"))) == 1
    steps[name]()
    assert "going on after epoch 1" in capsys.readouterr().err
    assert open_artifact(out).digest == open_artifact(at(name)).digest
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(("share", "channels"), [(1.0, 32), (0.5, 16)])
def test_variant_is_pruned_and_exported_as_it_says(
    branch: Branch, tmp_path: Path, share: float, channels: int
) -> None:
    variant = Variant(name="v", feed_forward_share=share, weights="float32").to_json()
    pruned, servable = str(tmp_path / "pruned"), str(tmp_path / "servable")
    at = branch.path
    prune_student(at("sequences"), at("student"), [], variant, STUDENT.to_json(), pruned)
    said = quantize_student(branch.path("sequences"), pruned, variant, servable)
    assert load_decoder(open_artifact(pruned)).shape.feed_forward == (channels,)
    assert said["top10_overlap"] == pytest.approx(1.0)
    assert said["score_error"] < 1e-4
    history = [np.asarray([3, 4, 5], dtype=np.int32)]
    torch_scores = load_scorer(pruned).scores(history)
    np.testing.assert_allclose(load_scorer(servable).scores(history), torch_scores, atol=1e-4)


def test_student_of_an_ensemble_keeps_its_transitions(branch: Branch, tmp_path: Path) -> None:
    at, out = branch.path, lambda name: str(tmp_path / name)
    config = TEACHER.model_copy(
        update={
            "kind": "ensemble",
            "ensemble": EnsembleMembers(folds=2, top_k=4),
            "item_embeddings": "random",
            "layers": 2,
        }
    )
    train_teacher(at("sequences"), at("sasrec"), config.to_json(), out("teacher"))
    teacher = load_scorer(out("teacher"))
    assert len(open_artifact(out("teacher")).json("report.json")["gains"]) == 2
    settings = CacheTeacher(top_k=4).to_json()
    for number in range(2):
        cache_teacher(
            at("sequences"), out("teacher"), f"{number}/2", settings, out(f"cache{number}")
        )
    caches = [out("cache0"), out("cache1")]
    student = STUDENT.model_copy(update={"memory": 3, "heads": 2, "feed_forward": 32})
    distill_student(at("sequences"), out("teacher"), caches, student.to_json(), out("student"))
    stored = open_artifact(out("student"))
    model = load_decoder(stored)
    assert model.memory is not None
    assert model.memory.neighbours.shape == (13, 3)
    # The circle goes on: within reach and a second hop, 5 leads to what comes after it.
    assert set(model.memory.neighbours[5].tolist()) <= {6, 7, 8, 9, 10}
    assert {"together", "scores", "transitions"} <= set(
        stored.json("report.json")["validation_ndcg_at_10"]
    )
    # One layer of the teacher's four, and one final norm of its two.
    assert model.parameters_backbone() < 0.3 * teacher.parameters_backbone
    history = np.asarray([3, 4, 5], dtype=np.int32)
    items, last = torch.from_numpy(history.astype(np.int64))[None], torch.tensor([2])
    with torch.inference_mode():
        layers = model.last_states(items, last) @ model.items.weight.T
        expected = layers + model.memory.gain * model.memory.evidence(items, last)
    found = load_scorer(out("student")).scores([history])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5)
    alone = STUDENT.model_copy(update={"memory": 0})
    distill_student(at("sequences"), out("teacher"), caches, alone.to_json(), out("alone"))
    assert load_decoder(open_artifact(out("alone"))).memory is None
