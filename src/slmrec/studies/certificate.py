"""Certificate: for how many people the student provably recommends first what its teacher does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slmrec.config import EvaluateModels
from slmrec.data.sequences import Sequences
from slmrec.errors import ConfigError
from slmrec.evaluation.bootstrap import DIGITS, Bootstrap, MetricValue
from slmrec.evaluation.metrics import Floats
from slmrec.evaluation.ranking import histories_before
from slmrec.models.checkpoint import load_decoder
from slmrec.studies import plots, wording
from slmrec.studies.certify import Certificates, certify
from slmrec.studies.job import Job
from slmrec.studies.kept import Kept
from slmrec.studies.outcome import Outcome, Table
from slmrec.studies.quality import Evaluator
from slmrec.studies.trainings import Trainer, needs_items, require_layers, reseeded

RATIOS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Margin over bound at which the curves are read; above 1 the first item is certified."""
CERTIFIED, BY_PAIR, SAME = "certified", "certified_by_pair", "same_first"
METHOD = (
    "The last states of a teacher and of a student with the settings of `distill_student` "
    "were compared after each test user's history. Both are scored with the student's item "
    "embeddings, so that only the states differ. By Cauchy-Schwarz the score of item i moves "
    "by at most ‖h_t − h_s‖ · ‖e_i‖: where the teacher's state puts its first item ahead of "
    "the second by more than twice the largest such bound, the student's must agree "
    "(`certified`). The lead over item j moves by at most ‖h_t − h_s‖ · ‖e_first − e_j‖, "
    "which certifies more (`certified by pair`). Shares of a user are averaged over seeds of "
    "the student; intervals are 95 % of a bootstrap over users. Items that a user has seen "
    "are not left out here."
)


def study_certificate(job: Job, sequences: Sequences, kept: Kept) -> Outcome:
    """Train a teacher and its student, and certify the first item of every test user."""
    config = job.config
    blocks = config.cache_teacher.blocks
    first = config.distill_student.training.seed
    seeds = [first + number for number in range(job.seeds)]
    require_layers(config)
    width = config.distill_student.width
    if width not in (None, config.train_teacher.width):
        raise ConfigError(
            f"study certificate: distill_student.width is {width} and train_teacher.width is "
            f"{config.train_teacher.width}; expected one width, since states are compared with states"
        )
    trainer = Trainer(sequences, kept)
    evaluator = Evaluator(sequences, config.evaluate_models, kept)
    trainer.expect(1 + len(seeds) + needs_items(config))
    items = trainer.sasrec(config.pretrain_items) if needs_items(config) else None
    teacher = trainer.teacher(config.train_teacher, items, "teacher")
    students = []
    for seed in seeds:
        settings = reseeded(config.distill_student, seed)
        students.append(
            trainer.student(teacher, config.cache_teacher, settings, f"student, seed {seed}")
        )
    histories = histories_before(sequences, evaluator.users, evaluator.positions)
    network = load_decoder(teacher)
    found = [certify(network, load_decoder(one), blocks, histories) for one in students]
    shares = certified_shares(found, config.evaluate_models)
    steps = block_means(found)
    lines = curves(found)
    trained_on = [one.json("report.json") for one in students]

    def draw(path: Path) -> None:
        plots.draw_certificate(lines, shares[SAME]["value"], steps, path)

    return Outcome(
        title="Certificate",
        method=METHOD,
        seeds=seeds,
        results={
            "users": len(evaluator.users),
            "teacher_seed": config.train_teacher.training.seed,
            "shares": shares,
            "blocks": steps,
            "curve": lines,
            "training_positions": {
                name: _rounded(np.mean([report[name] for report in trained_on]))
                for name in ("certified_share", "same_first_share")
            },
        },
        tables=_tables(shares, steps),
        findings=[certificate_finding(shares)],
        draw=draw,
    )


def certified_shares(
    found: Sequence[Certificates], config: EvaluateModels
) -> dict[str, MetricValue]:
    """Shares of users, certified and in fact equal, with intervals; averaged over seeds."""
    columns = {
        CERTIFIED: [one.ratio > 1 for one in found],
        BY_PAIR: [one.pair_ratio > 1 for one in found],
        SAME: [one.same_first for one in found],
    }
    values = np.stack([np.mean(seeds, axis=0) for seeds in columns.values()], axis=1)
    bootstrap = Bootstrap.draw(values, config.resamples, config.seed)
    shares: dict[str, MetricValue] = {}
    for column, name in enumerate(columns):
        shares[name] = bootstrap.interval(column).as_json()
    return shares


def curves(found: Sequence[Certificates]) -> list[dict[str, Any]]:
    """At each ratio: the share of users above it, by either bound, and how many of those agree.

    `agreeing` is null where nobody is above the ratio.
    """
    plain = np.concatenate([one.ratio for one in found])
    pairs = np.concatenate([one.pair_ratio for one in found])
    same = np.concatenate([one.same_first for one in found])
    return [
        {
            "ratio": ratio,
            "share": _rounded(np.mean(plain > ratio)),
            "share_by_pair": _rounded(np.mean(pairs > ratio)),
            "agreeing": _rounded(same[plain > ratio].mean()) if (plain > ratio).any() else None,
        }
        for ratio in RATIOS
    ]


def block_means(found: Sequence[Certificates]) -> list[dict[str, Any]]:
    """Mean distance and cosine at each block's end, over users and seeds."""
    distance: Floats = np.mean([one.distance.mean(axis=0) for one in found], axis=0)
    cosine: Floats = np.mean([one.cosine.mean(axis=0) for one in found], axis=0)
    return [
        {"block": number + 1, "distance": _rounded(distance[number]), "cosine": _rounded(value)}
        for number, value in enumerate(cosine)
    ]


def certificate_finding(shares: dict[str, MetricValue]) -> str:
    """What the certificate is worth, in a sentence."""
    same, plain, pair = (shares[name]["value"] for name in (SAME, CERTIFIED, BY_PAIR))
    fact = f"in fact it is the same for {wording.share(same)}"
    if not pair:
        return f"No test user's first item is certified to be the teacher's; {fact}."
    seen = pair / same if same else 0.0
    tightest = (
        f"and for {wording.share(pair)} by the bound on pairs"
        if pair > plain
        else "and the bound on pairs adds nobody"
    )
    return (
        f"The first item is certified to be the teacher's for {wording.share(plain)} of test users, "
        f"{tightest}; {fact}, so the certificate finds {wording.share(seen)} of the agreement."
    )


def _rounded(value: Any) -> float:
    return round(float(value), DIGITS)


def _tables(shares: dict[str, MetricValue], steps: Sequence[dict[str, Any]]) -> list[Table]:
    names = {CERTIFIED: "certified", BY_PAIR: "certified by pair", SAME: "in fact the same"}
    rows = [[label, wording.figure(shares[name])] for name, label in names.items()]
    blocks = [
        [str(step["block"]), f"{step['distance']:.4f}", f"{step['cosine']:.4f}"] for step in steps
    ]
    return [
        Table("First item of teacher and student", ("", "share of test users"), rows),
        Table("At the end of each block", ("block", "‖h_t − h_s‖", "cosine"), blocks),
    ]
