"""Depth: whether many layers are needed, and whether a deep model can do without its last ones.

SLMRec (arXiv 2405.17890, section 3) trains LLaMA-based recommenders of 1 to 32 layers on Amazon Cloth.
At 8 of 32 layers 94 % of NDCG@10 are left, from which the paper concludes that most layers are
redundant; the 32-layer model cut only at inference falls below SASRec.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmrec.config import TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.block_influence import block_influence
from slmrec.evaluation.bootstrap import DIGITS
from slmrec.models.checkpoint import load_decoder
from slmrec.studies import plots, wording
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.outcome import Outcome, Table
from slmrec.studies.quality import HR, NDCG, Evaluator, Part, Row, compare
from slmrec.studies.trainings import Trainer, needs_items, require_layers, reseeded

TOLERATED = 0.05
"""Share of the deepest model's NDCG@10 that a shallower one may lose and still make layers redundant;
the paper's 8 of 32 layers lose 0.057."""

METHOD = (
    "Decoders with the settings of `train_teacher` were trained at each depth. The deepest "
    "was also cut to its first layers, followed by its final norm, without further training. "
    "Every test user's next item was ranked against the whole catalogue{seen}. Metrics of a "
    "user are averaged over seeds; intervals are 95 % of a paired bootstrap over users. Block "
    "Influence is 1 − the mean cosine between what a layer receives and what it gives "
    "(ShortGPT), in the deepest model."
)


def study_depth(job: Job, sequences: Sequences, kept: Kept) -> Outcome:
    """Train at each depth, cut the deepest, compare all with the shallowest."""
    depths = job.depths
    settings = job.config.train_teacher
    seeds = [settings.training.seed + number for number in range(job.seeds)]
    require_layers(job.config)
    trainer = Trainer(sequences, kept)
    evaluator = Evaluator(sequences, job.config.evaluate_models, kept)
    trainer.expect(len(depths) * len(seeds) + needs_items(job.config))
    items = trainer.sasrec(job.config.pretrain_items) if needs_items(job.config) else None
    models = {
        depth: [
            trainer.teacher(_at(settings, depth, seed), items, f"{_layers(depth)}, seed {seed}")
            for seed in seeds
        ]
        for depth in depths
    }
    deepest = models[depths[-1]]
    measured = [evaluator.measure(_trained(depth), models[depth]) for depth in depths]
    measured += [
        evaluator.measure(_cut(depth), deepest, Part(first_layers=depth)) for depth in depths[:-1]
    ]
    against = (_trained(depths[0]), _trained(depths[-1]))
    rows = {row["name"]: row for row in compare(measured, against, job.config.evaluate_models)}
    trained = {depth: rows[_trained(depth)] for depth in depths}
    cut = {depth: rows[_cut(depth)] for depth in depths[:-1]}
    influence = np.mean([block_influence(load_decoder(m), sequences) for m in deepest], axis=0)
    influences = [round(float(value), DIGITS) for value in influence]

    def draw(path: Path) -> None:
        plots.draw_depth(trained, cut, influences, path)

    verdict, claim = redundancy(trained)
    return Outcome(
        title="Depth",
        method=METHOD.format(
            seen=", seen items left out" if job.config.evaluate_models.filter_seen else ""
        ),
        seeds=seeds,
        results={
            "users": len(evaluator.users),
            "trained": [_entry(depth, row) for depth, row in trained.items()],
            "cut": [_entry(depth, row) for depth, row in cut.items()],
            "block_influence": influences,
            "claim": {"tolerated_loss": TOLERATED, "verdict": verdict},
        },
        tables=[_quality_table(trained, cut), _influence_table(influences)],
        findings=[claim, cutting(trained, cut), influence_finding(influences)],
        draw=draw,
    )


def redundancy(trained: Mapping[int, Row]) -> tuple[str, str]:
    """Whether the paper's redundancy claim holds (`holds`, `fails`, `undecided`), and a sentence.

    It holds where some depth of at most half the deepest loses, with 95 % confidence, no more than
    `TOLERATED`. It fails where every such depth loses more, with the same confidence.
    """
    *_, deepest = trained
    base = trained[deepest]["metrics"][NDCG]["value"]
    name = trained[deepest]["name"]
    half = {depth: row for depth, row in trained.items() if 2 * depth <= deepest}
    claim = "The paper's claim that most layers are redundant"
    most = TOLERATED * base
    for depth, row in half.items():
        found = row["versus"][name]
        if base and found["ci95"][0] >= -most:
            change = wording.relative(row, trained[deepest])
            return "holds", (
                f"{claim} holds here: trained at that depth, {_layers(depth)} reach "
                f"{wording.share(1 + change)} of the NDCG@10 of {deepest}, and a loss of more than "
                f"{wording.share(TOLERATED)} is outside the interval."
            )
    if half and base and all(row["versus"][name]["ci95"][1] < -most for row in half.values()):
        best = max(half, key=lambda depth: half[depth]["metrics"][NDCG]["value"])
        loss = -wording.relative(half[best], trained[deepest])
        return "fails", (
            f"{claim} does not hold here: with at most half of {deepest} layers the best, "
            f"{_layers(best)}, loses {wording.share(loss)} of NDCG@10, and a loss of "
            f"{wording.share(TOLERATED)} or less is outside the interval."
        )
    why = (
        "the intervals hold both a loss that is small and one that is not"
        if half and base
        else "no depth of at most half the deepest was measured"
        if base
        else "the deepest model has an NDCG@10 of 0"
    )
    return "undecided", f"{claim} is neither confirmed nor refuted here: {why}."


def cutting(trained: Mapping[int, Row], cut: Mapping[int, Row]) -> str:
    """What is lost where layers are only cut at inference, in a sentence."""
    *_, deepest = trained
    name = trained[deepest]["name"]
    worse = [depth for depth, row in cut.items() if wording.side(row["versus"][name]) < 0]
    if not worse:
        return (
            f"Cutting the model of {_layers(deepest)} at inference to "
            f"{wording.listing(list(cut))} costs nothing that these users could show."
        )
    worst = min(worse, key=lambda depth: cut[depth]["metrics"][NDCG]["value"])
    kept = 1 + wording.relative(cut[worst], trained[deepest])
    own = 1 + wording.relative(trained[worst], trained[deepest])
    return (
        f"Cut at inference, the first {_layers(worst)} of {deepest} keep {wording.share(kept)} of its "
        f"NDCG@10, where a model trained at that depth reaches {wording.share(own)}."
    )


def influence_finding(influences: Sequence[float]) -> str:
    """Which layer changes its input least, in a sentence."""
    least = int(np.argmin(influences))
    most = int(np.argmax(influences))
    return (
        f"By Block Influence layer {least + 1} changes its input least ({influences[least]:.3f}) and "
        f"layer {most + 1} most ({influences[most]:.3f})."
    )


def _at(settings: TrainTeacher, depth: int, seed: int) -> TrainTeacher:
    return reseeded(settings, seed).model_copy(update={"layers": depth})


def _trained(depth: int) -> str:
    return f"trained-{depth}"


def _cut(depth: int) -> str:
    return f"cut-{depth}"


def _layers(depth: int) -> str:
    return f"{depth} layer" if depth == 1 else f"{depth} layers"


def _entry(depth: int, row: Row) -> dict[str, Any]:
    return {"layers": depth, **row}


def _quality_table(trained: Mapping[int, Row], cut: Mapping[int, Row]) -> Table:
    first = next(iter(trained.values()))["name"]
    rows = []
    for depth, row in (*trained.items(), *cut.items()):
        way = "trained at that depth" if row is trained[depth] else "cut at inference"
        rows.append(
            [
                way,
                str(depth),
                f"{row['parameters_backbone']:,}",
                wording.figure(row["metrics"][NDCG]),
                wording.figure(row["metrics"][HR]),
                wording.difference(row["versus"], first),
            ]
        )
    shallowest = next(iter(trained))
    header = (
        *("model", "layers", "backbone parameters", "NDCG@10", "HR@10"),
        f"NDCG@10 less that of {_layers(shallowest)} trained",
    )
    return Table("Quality", header, rows)


def _influence_table(influences: Sequence[float]) -> Table:
    rows = [[str(number), f"{value:.4f}"] for number, value in enumerate(influences, start=1)]
    return Table("Block Influence", ("layer", "1 − cosine"), rows)
