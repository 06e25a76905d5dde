"""The one optimisation loop: SASRec, teacher and student differ only in their loss."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slmrec.config import Training
from slmrec.data.sequences import Sequences
from slmrec.errors import SlmrecError
from slmrec.models.encoder import SequenceEncoder
from slmrec.progress import Progress, Silent
from slmrec.training.allocator import keep_freed_memory
from slmrec.training.batches import (
    Batch,
    batch_count,
    pack,
    packed_batches,
    row_capacity,
    training_windows,
)
from slmrec.training.checkpoints import Checkpoints, training_identity
from slmrec.training.device import choose_device, deterministic
from slmrec.training.negatives import NegativeSampler
from slmrec.training.optimizer import AdamW, one_cycle, parameter_groups
from slmrec.training.parallel import World
from slmrec.training.precision import Precision, choose_precision
from slmrec.training.recency import choose_half_life, recency_weights
from slmrec.training.tempo import Tempo
from slmrec.training.validation import validate, validation_sample

Losses = Mapping[str, Tensor]
"""Each term already weighted, a mean over the batch's real positions; their sum is minimised."""
Loss = Callable[[Batch, torch.dtype], Losses]
"""Receives a batch, on the model's device, and the type for its largest matrix products."""


@dataclass(frozen=True)
class TrainingResult:
    """What happened during a training; no clock times, so it is the same for the same seed."""

    history: list[dict[str, float]]
    """One entry an epoch: the mean of each loss term, and NDCG@10 where it was validated."""
    best_ndcg: float
    best_epoch: int
    precision: str
    filled: float
    """Share of tokens in a batch that were not padding."""
    recency_half_life_days: float | None
    """None when all targets counted alike."""

    def to_json(self) -> dict[str, Any]:
        """For `training.json`."""
        return asdict(self)


@dataclass(frozen=True)
class TrainingSpeed:
    """Clock times of a training; they belong into metadata, not into artifacts."""

    seconds: float
    """What a resumed training spent before it was stopped counts too, up to its last checkpoint."""
    tokens_per_second: float
    """Training positions, padding not counted."""
    epoch_seconds: float
    """Seconds of one epoch, validation included; of an ensemble, of one epoch of every network."""


@deterministic()
def train(
    model: SequenceEncoder,
    loss: Loss,
    sequences: Sequences,
    config: Training,
    progress: Progress,
    extra_modules: nn.Module | None = None,
    *,
    target_weights: NDArray[np.float32] | None = None,
    checkpoints: Path | None = None,
    depends_on: str = "",
    keep_end: bool = False,
) -> tuple[TrainingResult, TrainingSpeed]:
    """Minimise `loss` over packed windows; leave the best validated weights in `model`, on the CPU.

    `extra_modules` (projections, heads) are trained too and kept as they were at the last step.
    `target_weights` float32 [interactions], positive: what each interaction counts as a target, times
    its weight by recency. Where `torch.distributed` is initialised, each process trains its part of
    every batch and all end with the same weights.

    A training that was stopped goes on after its last whole epoch in `checkpoints`, a directory of
    its own that is removed at the end; with `keep_end` it stays, and the same call gives the same
    result at once: for a training that is a part of a longer one. `depends_on` tells what decides the
    result besides `sequences`, `config` and the initial weights: settings of the loss and of
    `target_weights`, digests of what is read.

    Raises `SlmrecError` when nothing can be trained on or the loss is not finite, `ConfigError` when
    the configured device is absent.
    """
    windows = training_windows(sequences, model.max_length)
    if not windows.targets:
        raise SlmrecError(
            "no user has two training interactions, so there is nothing to learn from; "
            "lower build_sequences.validation_share and test_share or bring more data"
        )
    keep_freed_memory()
    device = choose_device(config.device)
    world = World.joined(device)
    progress = progress if world.leads else Silent()
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed + world.rank)
    users, targets = validation_sample(sequences, rng)
    if not len(users):
        progress.say("no user to validate on: training to the last epoch and keeping its weights")
    half_life = (
        choose_half_life(sequences, users, targets)
        if config.recency_half_life_days == "auto"
        else config.recency_half_life_days
    )
    weights = recency_weights(sequences, half_life) if half_life else None
    if target_weights is not None:
        weights = target_weights if weights is None else target_weights * weights
    sampler = None if config.loss == "softmax" else NegativeSampler(sequences, config, device)
    capacity = row_capacity(windows.length, model.max_length)
    # The number of rows changes little between epochs; the schedule is fixed from the first.
    packing = pack(windows.length, capacity, rng)
    filled = packing.filled(windows.length)
    steps = batch_count(packing, config.batch_tokens) * config.epochs
    rate = one_cycle(config.learning_rate, steps, config.warmup_share)

    precision = choose_precision(config, model.layer_width, device.type)
    trained = _Trained(model, extra_modules, loss, precision, device.type).to(device)
    optimizer = AdamW(parameter_groups(trained, config))
    others = (config.to_json(), trained.name, str(precision), device.type, str(world.size))
    identity = training_identity(trained, sequences, (*others, depends_on)) if checkpoints else ""
    store = Checkpoints(checkpoints, identity, world, progress)
    reached = store.resume(trained, optimizer, rng)
    if reached.epoch:
        packing = pack(windows.length, capacity, rng)
    terms_of = world.wrap(trained, trained.may_leave_out)
    started, tempo = time.monotonic() - reached.seconds, Tempo()

    ended = reached.stale >= config.patience
    for epoch in range(reached.epoch + 1, reached.epoch + 1 if ended else config.epochs + 1):
        model.train()
        tempo.restart()
        sums: dict[str, float] = {}
        positions = 0
        for batch in packed_batches(sequences, windows, packing, config.batch_tokens, weights):
            if sampler is not None:
                batch = replace(batch, negatives=sampler.draw(rng))
            part, share = world.part(batch)
            part = part.to(device)
            now = rate(reached.step)
            terms = _step(terms_of, part, share, world, optimizer, now, config.clip_norm)
            total = sum(terms.values())
            if not math.isfinite(total):
                raise SlmrecError(
                    f"the loss became {total} in epoch {epoch}; lower training.learning_rate "
                    f"(now {config.learning_rate}) or training.clip_norm"
                )
            reached.step += 1
            count = batch.real_positions
            positions += count
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value * count
            note = f"loss {total:.3f} · NDCG@10 {reached.best.shown()}"
            progress.update(reached.step, steps, f"{note} · {tempo.after(count):,.0f} tokens/s")
        entry = {"epoch": float(epoch)} | {name: s / positions for name, s in sums.items()}
        if epoch % config.validate_every == 0 or epoch == config.epochs:
            mine = validate(model, sequences, users, targets, device) if world.leads else 0.0
            entry["ndcg@10"] = quality = world.from_first(mine)
            reached.judge(quality, epoch, model)
        reached.history.append(entry)
        reached.epoch = epoch
        reached.tokens += positions
        reached.seconds = time.monotonic() - started
        if reached.stale >= config.patience:
            progress.say(
                f"stopped after epoch {epoch}: no better NDCG@10 in {reached.stale} validations"
            )
            break
        if epoch < config.epochs:
            store.save(reached, trained, optimizer, rng)
        packing = pack(windows.length, capacity, rng)

    if keep_end:
        store.save(reached, trained, optimizer, rng, at_once=True)
    best = reached.best
    model.load_state_dict(best.weights, strict=False)
    trained.to("cpu")
    model.eval()
    if not keep_end:
        store.remove()
    seconds = time.monotonic() - started
    progress.update(steps, steps, f"NDCG@10 {best.shown()} on validation")
    result = TrainingResult(
        reached.history,
        best.ndcg,
        best.epoch,
        str(precision),
        filled,
        half_life,
    )
    speed = TrainingSpeed(
        seconds,
        tokens_per_second=reached.tokens / max(seconds, 1e-9),
        epoch_seconds=seconds / max(reached.epoch, 1),
    )
    return result, speed


class _Trained(nn.Module):
    """Everything that is trained, and its loss: what several processes share gradients of."""

    def __init__(
        self,
        model: SequenceEncoder,
        extra_modules: nn.Module | None,
        loss: Loss,
        precision: Precision,
        device_type: str,
    ) -> None:
        super().__init__()
        self.model = model
        self.extra_modules = extra_modules
        self._loss = loss
        self._precision = precision
        self._device_type = device_type

    @property
    def name(self) -> str:
        """What tells this training from another of a model with the same parameters."""
        loss = getattr(self._loss, "__qualname__", type(self._loss).__name__)
        return f"{type(self.model).__name__} {type(self.extra_modules).__name__} {loss}"

    @property
    def may_leave_out(self) -> bool:
        """Whether there are parameters that a loss with a term switched off may not use."""
        return self.extra_modules is not None and any(True for _ in self.extra_modules.parameters())

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of a batch."""
        low = self._precision.layers == torch.bfloat16
        with torch.autocast(self._device_type, torch.bfloat16, enabled=low):
            return dict(self._loss(batch, self._precision.head))


def _step(
    terms_of: nn.Module,
    part: Batch,
    share: float,
    world: World,
    optimizer: AdamW,
    rate: float,
    clip_norm: float,
) -> dict[str, float]:
    """One step downhill; gives each term over the whole batch, of which `part` is a `share`."""
    terms: Losses = terms_of(part)
    stacked = torch.stack(list(terms.values()))
    optimizer.clear_gradients()
    # Gradients are averaged over the processes, and the shares add up to one.
    (share * world.size * stacked.sum()).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(optimizer.parameters, clip_norm)
    optimizer.step(rate)
    values = world.total(share * stacked.detach()).tolist()
    return dict(zip(terms, values, strict=True))
