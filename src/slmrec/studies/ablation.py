"""Ablation: what each term of the distillation is worth, against no distillation at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from slmrec.artifacts import Artifact
from slmrec.config import DistillStudent, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.student import default_heads
from slmrec.studies import plots, wording
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.outcome import Outcome, Table
from slmrec.studies.quality import HR, NDCG, Evaluator, Row, compare
from slmrec.studies.trainings import Trainer, needs_items, require_layers, reseeded
from slmrec.studies.variants import ALL, FRESH, PLAIN, left_out, shared_config, variant_config

TEACHER = "teacher"
METHOD = (
    "One teacher and one cache of it serve all students. `ce-fresh` is a model of the "
    "student's size trained directly: random layers, item embeddings from where the teacher's "
    "training starts them. `ce` starts from the teacher's first layers and embeddings and "
    "learns from the log alone; each other variant adds to `ce` the terms that its name "
    "tells, and `all` every one of them. Every test user's next item was ranked "
    "against the whole catalogue{seen}. Metrics of a user are averaged over seeds; intervals "
    "are 95 % of a paired bootstrap over users, each for itself: with so many variants one in "
    "twenty may stand apart from zero by chance."
)


def study_ablation(job: Job, sequences: Sequences, kept: Kept) -> Outcome:
    """Train a teacher and the students of every variant, compare all with both that had no help."""
    absent = left_out(job.variants, job.config)
    for name, reason in absent.items():
        kept.report.say(f"{name} is left out: {reason}")
    names = [name for name in job.variants if name not in absent]
    config = shared_config(names, job.config)
    first = config.distill_student.training.seed
    seeds = [first + number for number in range(job.seeds)]
    require_layers(config)
    trainer = Trainer(sequences, kept)
    evaluator = Evaluator(sequences, config.evaluate_models, kept)
    trainer.expect(1 + len(names) * len(seeds) + needs_items(config))
    items = trainer.sasrec(config.pretrain_items) if needs_items(config) else None
    teacher = trainer.teacher(config.train_teacher, items, TEACHER)

    def train(name: str, seed: int) -> Artifact:
        student = reseeded(variant_config(name, config), seed)
        label = f"{name}, seed {seed}"
        if name == FRESH:
            return trainer.teacher(_fresh(config.train_teacher, student), items, label)
        return trainer.student(teacher, config.cache_teacher, student, label)

    models = {name: [train(name, seed) for seed in seeds] for name in names}
    measured = [evaluator.measure(TEACHER, [teacher])]
    measured += [evaluator.measure(name, made) for name, made in models.items()]
    rows = compare(measured, (FRESH, PLAIN), config.evaluate_models)

    def draw(path: Path) -> None:
        plots.draw_ablation(rows, FRESH, path)

    by_name = {row["name"]: row for row in rows}
    return Outcome(
        title="Ablation",
        method=METHOD.format(
            seen=", seen items left out" if config.evaluate_models.filter_seen else ""
        ),
        seeds=seeds,
        results={
            "users": len(evaluator.users),
            "teacher_seed": config.train_teacher.training.seed,
            "variants": rows,
            "left_out": absent,
        },
        tables=_tables(rows, absent),
        findings=[distillation(by_name), *terms(by_name), *worth_learning_from(by_name)],
        draw=draw,
    )


def distillation(rows: Mapping[str, Row]) -> str:
    """Whether distillation with every term beats training a model of that size, in a sentence."""
    chosen = ALL if ALL in rows else max(
        (name for name in rows if name not in (TEACHER, FRESH)),
        key=lambda name: rows[name]["metrics"][NDCG]["value"],
    )  # fmt: skip
    found = rows[chosen]["versus"][FRESH]
    numbers = (
        f"{wording.difference(rows[chosen]['versus'], FRESH)} in NDCG@10, "
        f"{100 * wording.relative(rows[chosen], rows[FRESH]):+.1f} %"
    )
    verdict = {
        1: "is better than",
        -1: "is worse than",
        0: "cannot be told from",
    }[wording.side(found)]
    sentence = f"The student `{chosen}` {verdict} a model of its size trained directly ({numbers})."
    others = len(rows) - 2
    if chosen == ALL or others < 2:
        return sentence
    return f"{sentence} It is the best of {others} on these very users, which flatters it."


def terms(rows: Mapping[str, Row]) -> list[str]:
    """Which terms help on their own, and which do not, in at most one sentence."""
    singles = [name for name in rows if name not in (TEACHER, FRESH, PLAIN, ALL)]
    if not singles:
        return []
    sides = {name: wording.side(rows[name]["versus"][PLAIN]) for name in singles}
    parts = []
    for wanted, words in (
        (1, "better than `ce`"),
        (-1, "worse than `ce`"),
        (0, "not told from `ce`"),
    ):
        group = [f"`{name}`" for name in singles if sides[name] == wanted]
        if group:
            parts.append(f"{wording.listing(group)} {'is' if len(group) == 1 else 'are'} {words}")
    return [f"On its own: {'; '.join(parts)}."]


def worth_learning_from(rows: Mapping[str, Row]) -> list[str]:
    """A warning where the teacher is not better than what it should help."""
    found = rows[TEACHER]["versus"][FRESH]
    if wording.side(found) > 0:
        return []
    verdict = "is not shown to be" if not wording.side(found) else "is not"
    return [
        f"The teacher itself {verdict} better than `{FRESH}` "
        f"({wording.difference(rows[TEACHER]['versus'], FRESH)}), so what separates the variants here "
        "need not be the teacher's knowledge."
    ]


def _fresh(teacher: TrainTeacher, student: DistillStudent) -> TrainTeacher:
    """The settings of a decoder of the student's size that starts as its teacher does."""
    width = student.width or teacher.width
    like = width == teacher.width
    heads = student.heads or (teacher.heads if like else default_heads(width))
    feed_forward = student.feed_forward or (teacher.feed_forward if like else 4 * width)
    shape = {"width": width, "heads": heads, "feed_forward": feed_forward}
    return teacher.model_copy(
        update={"layers": student.layers, "training": student.training, **shape}
    )


def _tables(rows: Sequence[Row], absent: Mapping[str, str]) -> list[Table]:
    header = (
        *("variant", "backbone parameters", "NDCG@10", "HR@10"),
        *(f"NDCG@10 less `{FRESH}`", f"NDCG@10 less `{PLAIN}`", "NDCG@10 of each seed"),
    )
    quality = [
        [
            row["name"],
            f"{row['parameters_backbone']:,}",
            wording.figure(row["metrics"][NDCG]),
            wording.figure(row["metrics"][HR]),
            wording.difference(row["versus"], FRESH),
            wording.difference(row["versus"], PLAIN),
            " ".join(f"{value:.4f}" for value in row["by_seed"]),
        ]
        for row in rows
    ]
    tables = [Table("Quality", header, quality)]
    if absent:
        reasons = [list(reason) for reason in absent.items()]
        tables.append(Table("Left out", ("variant", "why"), reasons, numbers=False))
    return tables
