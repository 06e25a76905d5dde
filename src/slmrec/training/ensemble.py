"""Training the members of an ensemble teacher, and finding how much each counts."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slmrec.config import Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.encoder import SequenceEncoder, packed_mask
from slmrec.models.ensemble import Ensemble
from slmrec.models.popularity import Popularity
from slmrec.models.pretrained import PretrainedDecoder
from slmrec.models.transitions import Transitions
from slmrec.progress import Progress
from slmrec.training.batches import Batch
from slmrec.training.folds import without_fold
from slmrec.training.gains import GAIN_USERS, fit_gains
from slmrec.training.loop import Losses, TrainingResult, TrainingSpeed, train
from slmrec.training.losses import soft_cross_entropy
from slmrec.training.recency import recency_weights
from slmrec.training.soft_labels import SoftLabels, held_out_labels
from slmrec.training.teachers import build_network
from slmrec.training.validation import validation_sample


@dataclass(frozen=True)
class TrainedEnsemble:
    """An ensemble and how it came about."""

    ensemble: Ensemble
    training: TrainingResult
    """The mean over the networks; the quality is that of all together."""
    speed: TrainingSpeed
    """Of all networks, one after another."""
    quality: Mapping[str, float]
    """NDCG@10 on validation: `together`, of the networks (`scores`), and of each counted member; empty
    where nobody validates."""


def train_ensemble(
    sequences: Sequences,
    item_vectors: Tensor | None,
    config: TrainTeacher,
    progress: Progress,
    checkpoints: Path | None = None,
) -> TrainedEnsemble:
    """Count transitions and popularity, train a network without each fold, fit the gains.

    Networks learn from the next item and from what transitions say of each history as if they had
    not been counted from it. They are counted of all users: through what they say of others a network
    may hear of its own fold; counting each network's without its fold was measured, and was worse.
    `item_vectors` and `checkpoints` are as `train_teacher` takes them.
    """
    members = config.ensemble
    transitions = Transitions.fit(sequences)
    labels = held_out_labels(transitions, sequences, config.max_length, members.top_k, progress)
    trained = []
    for fold in range(members.folds):
        training = config.training.model_copy(update={"seed": config.training.seed + fold})
        torch.manual_seed(training.seed)
        seeded = config.model_copy(update={"training": training})
        kind = members.networks[fold % len(members.networks)]
        network = build_network(kind, sequences, item_vectors, seeded, progress)
        network.items.weight.requires_grad_(not config.freeze_items)
        progress.say(
            f"network {fold + 1} of {members.folds} ({kind}), trained without a fold of the users"
        )
        outcome = _train_network(
            network,
            without_fold(sequences, members.folds, fold),
            labels,
            members.counted_share,
            training,
            progress,
            depends_on=f"{config.to_json()} without fold {fold}",
            checkpoints=checkpoints and checkpoints / f"network-{fold}",
        )
        if isinstance(network, PretrainedDecoder):
            network.merge_adapters()
        trained.append((network, *outcome))
    results = [result for _, result, _ in trained]
    half_life = results[0].recency_half_life_days
    weights = recency_weights(sequences, half_life) if half_life else None
    ensemble = Ensemble(
        [network for network, *_ in trained],
        transitions,
        Popularity.fit(sequences, weights),
        dict.fromkeys(("transitions", "popularity"), 1.0),
    )
    rng = np.random.default_rng(config.training.seed)
    users, targets = validation_sample(sequences, rng, GAIN_USERS)
    quality: Mapping[str, float] = {}
    if len(users):
        progress.say("fitting how much transitions and popularity count beside the networks")
        ensemble.gains, quality = fit_gains(
            ensemble.network_scores, ensemble.counted_evidence, sequences, users, targets
        )
    else:
        progress.say("no user to validate on: transitions and popularity count as they are")
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)  # every network is in the ensemble now
    mean = _mean(results)
    return TrainedEnsemble(
        ensemble,
        replace(mean, best_ndcg=quality.get("together", mean.best_ndcg)),
        _sum([speed for *_, speed in trained]),
        quality,
    )


def soft_next_item_loss(
    model: SequenceEncoder,
    batch: Batch,
    dtype: torch.dtype,
    max_logit_mib: int,
    labels: SoftLabels,
    share: float,
) -> Losses:
    """Cross-entropy of the next item, and the distance to soft labels, which count `share`."""
    state = model(batch.items, batch.positions, packed_mask(batch.segments))[-1]
    real = batch.targets > 0
    with torch.autocast(state.device.type, enabled=False):
        ce, soft = soft_cross_entropy(
            state[real].float(),
            model.items.weight,
            batch.targets[real],
            labels.of(batch),
            max_logit_mib,
            dtype,
            batch.weights[real],
            scales=((1 - share) * batch.weight_scale, share),
        )
    return {"ce": ce, "transitions": soft}


def _train_network(
    network: SequenceEncoder,
    sequences: Sequences,
    labels: SoftLabels,
    share: float,
    config: Training,
    progress: Progress,
    *,
    depends_on: str,
    checkpoints: Path | None,
) -> tuple[TrainingResult, TrainingSpeed]:
    def loss(batch: Batch, dtype: torch.dtype) -> Losses:
        return soft_next_item_loss(network, batch, dtype, config.max_logit_mib, labels, share)

    return train(
        network,
        loss,
        sequences,
        config,
        progress,
        checkpoints=checkpoints,
        depends_on=depends_on,
        keep_end=checkpoints is not None,
    )


def _mean(results: list[TrainingResult]) -> TrainingResult:
    """The networks' mean in every epoch that all of them reached."""
    epochs = min(len(result.history) for result in results)
    history = []
    for entries in zip(*(result.history[:epochs] for result in results), strict=True):
        shared = set.intersection(*(set(entry) for entry in entries))
        names = [name for name in entries[0] if name in shared]
        history.append({n: float(np.mean([entry[n] for entry in entries])) for n in names})
    best = max(result.best_epoch for result in results)
    return replace(results[0], history=history, best_epoch=best)


def _sum(speeds: list[TrainingSpeed]) -> TrainingSpeed:
    seconds = sum(speed.seconds for speed in speeds)
    tokens = sum(speed.seconds * speed.tokens_per_second for speed in speeds)
    return TrainingSpeed(
        seconds,
        tokens_per_second=tokens / max(seconds, 1e-9),
        epoch_seconds=sum(speed.epoch_seconds for speed in speeds),
    )
