"""Distillation: whether the student of a teacher is better than the same model trained directly."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slmrec.artifacts import Artifact
from slmrec.config import PipelineConfig, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.checkpoint import ENSEMBLE, load_decoder
from slmrec.models.counted import Counted
from slmrec.models.decoder import Decoder
from slmrec.studies import plots, wording
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.outcome import Outcome, Table
from slmrec.studies.quality import HR, NDCG, Evaluator, Part, Row, compare
from slmrec.studies.trainings import Trainer, reseeded

TRANSITIONS, SASREC = "transitions", "sasrec"
TEACHER, STUDENT, DIRECT = "teacher", "student", "direct"
WITHOUT_MEMORY = ", no memory"
REFERENCES = (TRANSITIONS, SASREC, DIRECT, DIRECT + WITHOUT_MEMORY, TEACHER)
"""What every model is compared with."""
CLOSE = 0.01
"""What a student may lose against its teacher, as a share, and still be called as good."""
SEEDS_APART = 100
"""Between runs, since the networks of an ensemble take the seeds that follow its own."""
METHOD = (
    "Every seed is a whole run of its own: SASRec, teacher, cache and student, trained as the "
    "pipeline's steps train them. `direct` is the student's own model, the memory included where it "
    "has one, trained on the log alone from random weights; it is trained with the student's dropout "
    "and with that of `pretrain_items`, and the better of the two on validation is taken, seed by "
    "seed. Every test user's next item was ranked against the whole catalogue{seen}. Metrics of a "
    "user are averaged over seeds; intervals are 95 % of a paired bootstrap over users, "
    "so they do not tell what further seeds would give."
)


def study_distillation(job: Job, sequences: Sequences, kept: Kept) -> Outcome:
    """Train everything for each seed, and compare the student with all that it should justify."""
    config = job.config
    first = config.train_teacher.training.seed
    seeds = [first + SEEDS_APART * number for number in range(job.seeds)]
    trainer = Trainer(sequences, kept)
    evaluator = Evaluator(sequences, config.evaluate_models, kept)
    trainer.expect((3 + len(_dropouts(config))) * len(seeds))
    models: dict[str, list[Artifact]] = {SASREC: [], TEACHER: [], STUDENT: [], DIRECT: []}
    dropouts = []
    for seed in seeds:
        seeded = with_seed(config, seed)
        sasrec = trainer.sasrec(seeded.pretrain_items, f"sasrec, seed {seed}")
        teacher = trainer.teacher(seeded.train_teacher, sasrec, f"teacher, seed {seed}")
        student = trainer.student(
            teacher, seeded.cache_teacher, seeded.distill_student, f"student, seed {seed}"
        )
        direct, dropout = _direct(trainer, seeded, load_decoder(student), seed)
        dropouts.append(dropout)
        for name, model in zip(models, (sasrec, teacher, student, direct), strict=True):
            models[name].append(model)
    counted = Counted.fit(sequences)
    measured = [
        evaluator.measure_counted(scorer) for scorer in (counted.popularity, counted.transitions)
    ]
    measured += [evaluator.measure(name, made) for name, made in models.items()]
    if load_decoder(models[STUDENT][0]).memory is not None:
        measured += [
            evaluator.measure(name + WITHOUT_MEMORY, models[name], Part(memory=False))
            for name in (STUDENT, DIRECT)
        ]
    rows = compare(measured, REFERENCES, config.evaluate_models)
    networks = _networks(models[TEACHER][0])
    by_name = {row["name"]: row for row in rows}

    def draw(path: Path) -> None:
        plots.draw_models(rows, path)

    return Outcome(
        title="Distillation",
        method=METHOD.format(
            seen=", seen items left out" if config.evaluate_models.filter_seen else ""
        ),
        seeds=seeds,
        results={
            "users": len(evaluator.users),
            "models": rows,
            "direct_dropout": dropouts,
            "backbone_share": round(_backbone_share(by_name), 4),
            "teacher_networks": networks,
        },
        tables=_tables(rows),
        findings=findings(by_name, networks),
        draw=draw,
    )


def with_seed(config: PipelineConfig, seed: int) -> PipelineConfig:
    """The settings with every training begun from another seed."""
    trained = ("pretrain_items", "train_teacher", "distill_student")
    return config.model_copy(
        update={name: reseeded(getattr(config, name), seed) for name in trained}
    )


def findings(rows: Mapping[str, Row], networks: int) -> list[str]:
    """What distillation gave, and what it should be measured against, a sentence each."""
    student, teacher = rows[STUDENT], rows[TEACHER]
    kept = 1 + wording.relative(student, teacher)
    as_good = "as good as" if kept >= 1 - CLOSE else "not as good as"
    sentences = [
        _verdict(rows, STUDENT, DIRECT, "the same model trained directly"),
        _verdict(rows, TEACHER, DIRECT, "a model of the student's size trained directly"),
        f"The student is {as_good} its teacher: {100 * kept:.1f} % of its NDCG@10 "
        f"({wording.difference(student['versus'], TEACHER)}) with "
        f"{100 * _backbone_share(rows):.1f} % of its backbone parameters"
        f"{_of_networks(rows, networks)}.",
    ]
    if STUDENT + WITHOUT_MEMORY in rows:
        bare, against = STUDENT + WITHOUT_MEMORY, DIRECT + WITHOUT_MEMORY
        sentences.append(
            _verdict(
                rows, bare, against, "the same layers trained directly", "layers of the student"
            )
        )
    sentences += [
        _verdict(rows, STUDENT, other, words)
        for other, words in (
            (SASREC, "SASRec"),
            (TRANSITIONS, "item transitions, which need no training"),
        )
    ]
    return sentences


def _verdict(rows: Mapping[str, Row], name: str, other: str, words: str, called: str = "") -> str:
    """A comparison in a sentence; what single seeds say is told, since intervals are over users."""
    found = rows[name]["versus"]
    side = wording.side(found[other])
    verb = "are" if called.startswith("layers") else "is"
    verdict = {1: f"{verb} better than", -1: f"{verb} worse than", 0: "cannot be told from"}
    by_seed = _differences_by_seed(rows[name], rows[other])
    split = side and any(value * side <= 0 for value in by_seed)
    seeds = " ".join(f"{value:+.4f}" for value in by_seed)
    return (
        f"The {called or name} {verdict[side]} {words} "
        f"({wording.difference(found, other)} in NDCG@10, "
        f"{100 * wording.relative(rows[name], rows[other]):+.1f} %; by seed {seeds})"
        f"{', though not with every seed' if split else ''}."
    )


def _differences_by_seed(row: Row, other: Row) -> list[float]:
    """Of each seed's models; what no seed changes is compared with each."""
    mine, theirs = row["by_seed"], other["by_seed"]
    count = max(len(mine), len(theirs))
    pairs = zip(mine * (count // len(mine)), theirs * (count // len(theirs)), strict=True)
    return [a - b for a, b in pairs]


def _of_networks(rows: Mapping[str, Row], networks: int) -> str:
    if networks == 1:
        return ""
    return f" ({100 * networks * _backbone_share(rows):.0f} % of one of its {networks} networks)"


def _networks(teacher: Artifact) -> int:
    return int(teacher.json(ENSEMBLE)["networks"]) if ENSEMBLE in teacher.files else 1


def _backbone_share(rows: Mapping[str, Row]) -> float:
    return rows[STUDENT]["parameters_backbone"] / rows[TEACHER]["parameters_backbone"]


def _dropouts(config: PipelineConfig) -> list[dict[str, float]]:
    """What the direct model may be trained with: the student's, and what is usual without help."""
    trainings = (config.distill_student.training, config.pretrain_items.training)
    tried = [{"dropout": t.dropout, "embedding_dropout": t.embedding_dropout} for t in trainings]
    return tried[:1] if tried[0] == tried[1] else tried


def _direct(
    trainer: Trainer, config: PipelineConfig, student: Decoder, seed: int
) -> tuple[Artifact, dict[str, float]]:
    """The student's model trained directly, with the dropout that is better on validation."""
    shape = student.shape
    made = []
    for dropout in _dropouts(config):
        settings = TrainTeacher(
            width=shape.width,
            layers=shape.layers,
            heads=shape.heads,
            feed_forward=shape.feed_forward[0],
            max_length=shape.max_length,
            item_embeddings="random",
            training=config.distill_student.training.model_copy(update=dropout),
        )
        label = f"direct, seed {seed}, dropout {' and '.join(map(str, dropout.values()))}"
        made.append((trainer.direct(settings, shape.memory, label), dropout))
    return max(made, key=lambda one: float(one[0].json("training.json")["best_ndcg"]))


def _tables(rows: Sequence[Row]) -> list[Table]:
    header = ("model", "backbone parameters", "NDCG@10", "HR@10", "NDCG@10 of each seed")
    quality = [
        [
            row["name"],
            f"{row['parameters_backbone']:,}",
            wording.figure(row["metrics"][NDCG]),
            wording.figure(row["metrics"][HR]),
            " ".join(f"{value:.4f}" for value in row["by_seed"]),
        ]
        for row in rows
    ]
    names = {row["name"] for row in rows}
    others = [other for other in REFERENCES if other in names]
    differences = [
        [row["name"], *(wording.difference(row["versus"], other) for other in others)]
        for row in rows
    ]
    return [
        Table("Quality", header, quality),
        Table("Differences", ("NDCG@10", *(f"less `{other}`" for other in others)), differences),
    ]
