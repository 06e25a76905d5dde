"""Compare every model on the same users."""

import shutil
from pathlib import Path
from typing import Any

from components.runtime import named_model, open_registry, step
from slmrec.artifacts import Artifact, open_artifact, write_json
from slmrec.config import EvaluateModels
from slmrec.data.sequences import Sequences, load_sequences
from slmrec.errors import ArtifactError
from slmrec.evaluation.comparisons import Contender
from slmrec.evaluation.evaluate import evaluate
from slmrec.evaluation.load_cost import measure_loads
from slmrec.evaluation.outcome import (
    BASELINE,
    PRODUCTION,
    SASREC,
    SERVABLE,
    STUDENT,
    TEACHER,
    headline,
)
from slmrec.evaluation.results import CARD, PAGE, save_evaluation, save_timings
from slmrec.evaluation.selection import choose_candidate, standings
from slmrec.evaluation.speed import measure_speed, request_histories
from slmrec.evaluation.trainings import Trainings
from slmrec.models.item_map import TranslatedServable
from slmrec.models.loading import load_scorer
from slmrec.models.machine import Machine, describe, pinned, this_machine, usable_threads
from slmrec.models.popularity import Popularity
from slmrec.models.servable import Servable
from slmrec.models.transitions import Transitions
from slmrec.progress import Progress


@step("evaluate_models", outputs=("evaluation", "timings", "metrics", "page", "card"))
def run(
    progress: Progress,
    sequences: str,
    items_model: str,
    teacher: str,
    student: str,
    variants: list[str],
    registry: str,
    production: str,
    config: str,
    evaluation: str,
    timings: str,
    metrics: str,
    page: str,
    card: str,
) -> dict[str, Any]:
    """Write the artifacts `evaluation` and `timings`, the headline figures, page and card.

    `production` is the number of the version in the registry that serves now and its model's digest;
    it is judged on the same users. Empty: none.
    """
    settings = EvaluateModels.from_json(config)
    histories = load_sequences(sequences)
    assert histories.artifact is not None
    models = {
        SASREC: open_artifact(items_model, SASREC),
        TEACHER: open_artifact(teacher, TEACHER),
        STUDENT: open_artifact(student, STUDENT),
    }
    compressed = [open_artifact(path, SERVABLE) for path in variants]
    compressed.sort(key=lambda artifact: str(artifact.properties["name"]))
    for artifact in (*models.values(), *compressed):
        _require_same_sequences(artifact, histories.artifact)

    threads = usable_threads()
    contenders = [
        Contender("popularity", BASELINE, Popularity.fit(histories)),
        Contender("transitions", BASELINE, Transitions.fit(histories)),
        *(
            Contender(kind, kind, load_scorer(model.path, threads))
            for kind, model in models.items()
        ),
        *(
            Contender(str(variant.properties["name"]), SERVABLE, load_scorer(variant.path, threads))
            for variant in compressed
        ),
    ]
    translated = (
        _serving(registry, production, histories, threads, progress) if production else None
    )
    if translated is not None:
        contenders.append(Contender(PRODUCTION, PRODUCTION, translated))
    found = evaluate(
        contenders,
        histories,
        settings,
        progress,
        production=production.partition(" ")[0] if translated else "",
    )
    machine: Machine = {**this_machine(), "threads": threads}
    progress.say(f"timing every model on {describe(machine)}")
    scorers = {contender.name: contender.scorer for contender in contenders}
    asked = request_histories(histories, settings)
    stored = dict(models)
    stored |= {str(variant.properties["name"]): variant for variant in compressed}
    own = {}
    if translated is not None:  # in service nobody translates
        scorers[PRODUCTION] = translated.servable
        stored[PRODUCTION] = translated.servable.artifact
        own[PRODUCTION] = translated.translated(asked)
    with pinned(threads):
        measured = measure_speed(scorers, asked, settings, progress, own_histories=own)
        loads = measure_loads(stored, asked, settings, threads, progress, own_histories=own)
    for name, cost in loads.items():
        measured[name] |= cost

    inputs = {"sequences": histories.artifact, **models} | {
        f"variant:{variant.properties['name']}": variant for variant in compressed
    }
    choice = choose_candidate(*standings(found.results, measured), settings)
    if translated is not None:
        inputs[PRODUCTION] = translated.servable.artifact
    saved = save_evaluation(Path(evaluation), found, settings, inputs)
    timed = save_timings(
        Path(timings),
        found,
        measured,
        choice,
        machine,
        Trainings.read(models),
        settings,
        {"evaluation": saved},
    )
    candidate = found.model(choice.name)
    figures = {name: metric["value"] for name, metric in candidate["metrics"].items()}
    for path in (metrics, page, card):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_json(Path(metrics), {"candidate": candidate["name"], **figures})
    shutil.copyfile(timed.file(PAGE), page)
    shutil.copyfile(timed.file(CARD), card)
    return {
        "digest": saved.digest,
        "headline": f"{headline(found)}; candidate {choice.name}",
        "users": found.results["users"],
        "candidate": candidate["name"],
        "candidate_bytes": candidate["bytes"],
        "candidate_batch1_p50_ms": measured[candidate["name"]]["batch1_p50"],
        **figures,
    }


def _serving(
    registry: str, production: str, histories: Sequences, threads: int, progress: Progress
) -> TranslatedServable | None:
    """What serves now, asked in this log's numbers; none where it cannot be opened, which is said.

    The gates then refuse, since nothing was measured beside it; a person can still promote.
    """
    number, _, digest = production.partition(" ")
    try:
        artifact = named_model(open_registry(registry), int(number), digest, progress)
        servable = Servable(artifact, threads)
        translated = TranslatedServable(servable, histories.item_table, PRODUCTION)
    except ArtifactError as error:
        progress.say(f"version {number} serves and cannot be compared with: {error}")
        return None
    progress.say(
        f"version {number}, which serves now, knows {translated.known_share:.1%} of the items of this "
        "log"
    )
    return translated


def _require_same_sequences(model: Artifact, sequences: Artifact) -> None:
    trained_on = model.inputs.get("sequences", sequences.digest)
    if trained_on != sequences.digest:
        raise ArtifactError(
            f"{model.path}: this '{model.kind}' was made from the sequences {trained_on[:12]}…, "
            f"expected {sequences.digest[:12]}…, whose item numbers differ; run the pipeline again"
        )
