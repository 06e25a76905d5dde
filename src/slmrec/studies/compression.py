"""Compression: what pruning and quantization cost and give, alone and together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slmrec.artifacts import Artifact, publish, write_json
from slmrec.compress.export import export_servable
from slmrec.compress.fast_teacher import fast_teacher
from slmrec.compress.prune import prune
from slmrec.compress.recovery import recover
from slmrec.config import PipelineConfig, Variant
from slmrec.config.student import INT4_BLOCK
from slmrec.data.sequences import Sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.evaluation.metrics import HEADLINE
from slmrec.evaluation.outcome import (
    SERVABLE,
    STUDENT,
    TEACHER,
    Comparison,
    Evaluation,
    ModelResult,
)
from slmrec.evaluation.plots.cost import cost_svg
from slmrec.evaluation.selection import Choice, choose_candidate, standings
from slmrec.evaluation.speed import BATCHES, Timings, measure_speed, request_histories
from slmrec.models.checkpoint import load_decoder
from slmrec.models.loading import EnsembleScorer, TorchScorer, load_scorer
from slmrec.models.machine import Machine, describe, pinned, this_machine
from slmrec.models.scorer import Scorer
from slmrec.models.servable import PARITY
from slmrec.progress import Progress
from slmrec.studies import wording
from slmrec.studies.combinations import COMBINATIONS
from slmrec.studies.distillation import with_seed
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.outcome import Outcome, Table
from slmrec.studies.trainings import Trainer, needs_items

FAST_TEACHER = "teacher, ONNX Runtime"
MEASURED = "measured.json"
_BYTES_A_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / INT4_BLOCK}
"""In layers; of int4 with its scales."""
METHOD = (
    "One student, and what each variant makes of it. Every test user's next item was ranked against "
    "the whole catalogue{seen}; differences are paired, intervals are 95 % of a bootstrap over users. "
    "`overlap`, `certified` and `same first` compare a variant with its own torch model on validation "
    "histories. Speed is that of whole top-10 requests, {requests} for one user and {batches} batches "
    "of {users}, all models taking turns: {machine}. The teacher ran in torch and with its networks as "
    "float32 graphs; the faster one counts. Zeros among weights make no kernel of ONNX Runtime faster."
)


def study_compression(job: Job, sequences: Sequences, kept: Kept) -> Outcome:
    """Train a teacher and a student, make every variant, compare and time them all."""
    config = with_seed(job.config, job.config.train_teacher.training.seed)
    trainer = Trainer(sequences, kept)
    trainer.expect(2 + needs_items(config))
    items = trainer.sasrec(config.pretrain_items) if needs_items(config) else None
    teacher = trainer.teacher(config.train_teacher, items, TEACHER)
    student = trainer.student(teacher, config.cache_teacher, config.distill_student, STUDENT)
    width = load_decoder(student).shape.width
    absent = {v.name: v.misfit(width) for v, _ in COMBINATIONS if v.misfit(width)}
    for name, reason in absent.items():
        kept.report.say(f"{name} is left out: {reason}")
    variants = {
        variant.name: _servable(variant, student, teacher, sequences, config, trainer, kept)
        for variant, _ in COMBINATIONS
        if variant.name not in absent
    }
    models = {TEACHER: teacher, STUDENT: student, **variants}
    with kept.report.piece("ranks", trains=False) as piece:
        contenders = [
            Contender(name, name if name in (TEACHER, STUDENT) else SERVABLE, load_scorer(one.path))
            for name, one in models.items()
        ]
        evaluation = evaluate(contenders, sequences, config.evaluate_models, piece.progress)
    timed = _timed(models, evaluation, sequences, config, kept)
    timings: Timings = timed["timings"]
    choice, machine = Choice(**timed["choice"]), timed["machine"]
    parities = {name: one.json(PARITY) for name, one in variants.items()}

    def draw(path: Path) -> None:
        shown = {name: time for name, time in timings.items() if name in models}
        path.write_text(cost_svg(evaluation, shown, choice.name), encoding="utf-8")

    settings = config.evaluate_models
    return Outcome(
        title="Compression",
        method=METHOD.format(
            seen=", seen items left out" if settings.filter_seen else "",
            requests=settings.latency_requests,
            batches=timed["batches"],
            users=settings.batch_users,
            machine=describe(machine),
        ),
        seeds=[config.train_teacher.training.seed],
        results={
            "users": evaluation.results["users"],
            "models": [_shortened(model) for model in evaluation.results["models"]],
            "comparisons": [
                pair for pair in evaluation.results["comparisons"] if pair["b"] == STUDENT
            ],
            "parity": parities,
            "timings": {
                name: {key: round(value, 3) for key, value in time.items()}
                for name, time in timings.items()
            },
            "choice": timed["choice"],
            "machine": machine,
            "left_out": absent,
        },
        tables=_tables(evaluation, timings, parities, settings.batch_users),
        findings=findings(evaluation, timings, choice, settings.batch_users),
        draw=draw,
    )


def findings(
    evaluation: Evaluation,
    timings: Timings,
    choice: Choice,
    batch_users: int,
) -> list[str]:
    """What is chosen and what it is worth, a sentence each."""
    candidate, student = evaluation.model(choice.name), evaluation.model(STUDENT)
    teacher = evaluation.model(TEACHER)
    found = _less_student(evaluation, choice.name)
    lost = found["difference"] / max(student["metrics"][HEADLINE]["value"], 1e-12)
    mine = timings[choice.name]
    theirs = [timings[name] for name in (TEACHER, FAST_TEACHER) if name in timings]
    one = min(time["batch1_p50"] for time in theirs) / mine["batch1_p50"]
    batch = mine["users_per_second"] / max(time["users_per_second"] for time in theirs)
    student_batch = mine["users_per_second"] / timings[STUDENT]["users_per_second"]
    smaller = _layer_bytes(teacher) / _layer_bytes(candidate)
    return [
        f"Chosen is `{choice.name}`: {choice.reason}.",
        f"Against the student as trained it changes NDCG@10 by {_spell(found)} ({100 * lost:+.1f} %), "
        f"lists {wording.share(candidate['overlap@10'])} of what it lists, has "
        f"{wording.share(candidate['bytes'] / student['bytes'])} of the bytes and "
        f"answers batches of {batch_users} {student_batch:.1f} times as fast as the student in torch.",
        f"Against its teacher at its fastest it answers {one:.1f} times as fast for one user and "
        f"{batch:.1f} times in batches of {batch_users}; its layers have {smaller:.0f} times fewer "
        "bytes.",
    ]


def _servable(
    variant: Variant,
    student: Artifact,
    teacher: Artifact,
    sequences: Sequences,
    config: PipelineConfig,
    trainer: Trainer,
    kept: Kept,
) -> Artifact:
    assert sequences.artifact is not None
    inputs = {"sequences": sequences.artifact, "student": student}

    def make(place: Path, progress: Progress) -> str:
        model = prune(load_decoder(student), variant, sequences)
        if variant.recovery is not None:
            shards = [shard.path for shard in trainer.cache(teacher, config.cache_teacher)]
            cache = TeacherCache(shards, sequences)
            distillation = config.distill_student
            model = recover(
                model, sequences, cache, distillation, variant.recovery, progress
            ).student
        _, parity = export_servable(
            model,
            sequences.item_table,
            variant,
            place,
            calibration=sequences.sample_histories("train"),
            sample=sequences.sample_histories("validation"),
            inputs=inputs,
        )
        return f"top-10 overlap {parity['top10_overlap']:.3f}" if parity else ""

    return kept.get(SERVABLE, f"variant {variant.name}", variant.to_json(), inputs, make)


def _timed(
    models: Mapping[str, Artifact],
    evaluation: Evaluation,
    sequences: Sequences,
    config: PipelineConfig,
    kept: Kept,
) -> dict[str, Any]:
    """Timings, the choice that they decide and the machine; measured once, then kept."""
    settings = config.evaluate_models

    def make(place: Path, progress: Progress) -> str:
        machine: Machine = this_machine()
        progress.say(f"timing every model on {describe(machine)}")
        with TemporaryDirectory() as folder:
            scorers: dict[str, Scorer] = {
                name: load_scorer(model.path) for name, model in models.items()
            }
            fast = fast_teacher(_network(scorers[TEACHER]), Path(folder))
            if fast is not None:
                scorers[FAST_TEACHER] = fast
            asked = request_histories(sequences, settings)
            with pinned(machine["threads"]):
                timings = measure_speed(scorers, asked, settings, progress)
        choice = choose_candidate(*standings(evaluation.results, timings), settings)
        content = {
            "timings": timings,
            "choice": {"name": choice.name, "reason": choice.reason},
            "machine": machine,
            "batches": BATCHES,
        }
        with publish(place, "timings", config=settings.to_json(), inputs=models) as staging:
            write_json(staging / MEASURED, content)
        return f"candidate {choice.name}"

    found = kept.get("timings", "timings", settings.to_json(), models, make)
    content: dict[str, Any] = found.json(MEASURED)
    return content


def _network(scorer: Scorer) -> object:
    if isinstance(scorer, EnsembleScorer):
        return scorer.ensemble
    assert isinstance(scorer, TorchScorer)
    return scorer.model


def _layer_bytes(model: ModelResult) -> float:
    return model["parameters_backbone"] * _BYTES_A_WEIGHT[model["weights"]]


def _shortened(model: ModelResult) -> dict[str, Any]:
    metrics = {name: model["metrics"][name] for name in (HEADLINE, "hr@10")}
    return {**model, "metrics": metrics}


def _less_student(evaluation: Evaluation, name: str) -> Comparison:
    return next(
        pair
        for pair in evaluation.results["comparisons"]
        if (pair["a"], pair["b"]) == (name, STUDENT)
    )


def _spell(found: Comparison) -> str:
    low, high = found["ci95"]
    return f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"


def _tables(
    evaluation: Evaluation,
    timings: Timings,
    parities: Mapping[str, Mapping[str, float]],
    batch_users: int,
) -> Sequence[Table]:
    student = evaluation.model(STUDENT)
    done = {variant.name: words for variant, words in COMBINATIONS}
    models = evaluation.results["models"]
    quality = [
        [
            model["name"],
            done.get(model["name"], "as it was trained"),
            f"{model['metrics'][HEADLINE]['value']:.4f}",
            _spell(_less_student(evaluation, model["name"])) if model["name"] in done else "–",
            wording.share(model["overlap@10"]),
            f"{model['bytes'] / 1e6:.2f}",
            wording.share(model["bytes"] / student["bytes"]),
            f"{model['parameters_backbone']:,}",
        ]
        for model in models
    ]
    agreement = [
        [
            name,
            *(
                f"{found[key]:{form}}" if key in found else "–"
                for key, form in (
                    ("score_error", ".4f"),
                    ("top10_overlap", ".4f"),
                    ("ndcg_difference", "+.4f"),
                    ("same_first_share", ".3f"),
                    ("certified_share", ".3f"),
                )
            ),
        ]
        for name, found in parities.items()
    ]
    fastest = timings[STUDENT]
    speed = [
        [
            name,
            f"{time['batch1_p50']:.2f}",
            f"{time['batch1_p95']:.2f}",
            f"{time['users_per_second']:,.0f}",
            f"{fastest['batch1_p50'] / time['batch1_p50']:.1f}",
            f"{time['users_per_second'] / fastest['users_per_second']:.1f}",
        ]
        for name, time in timings.items()
    ]
    return [
        Table(
            "Quality and size",
            (
                *("model", "what is done", "NDCG@10", "less the student", "lists shared with it"),
                *("MB", "share of its bytes", "parameters in layers"),
            ),
            quality,
        ),
        Table(
            "Speed",
            (
                *("model", "one user, ms", "95th percentile", f"users/s, {batch_users} at once"),
                *("times the student, one user", "times, batch"),
            ),
            speed,
        ),
        Table(
            "Agreement with the torch model",
            (
                *("variant", "score error", "top-10 overlap", "NDCG@10 difference"),
                *("same first", "certified"),
            ),
            agreement,
        ),
    ]
