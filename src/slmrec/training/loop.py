"""The one optimisation loop: SASRec, teacher and student differ only in their loss."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slmrec.config import Training
from slmrec.data.sequences import Int64, Sequences
from slmrec.errors import SlmrecError
from slmrec.evaluation.metrics import ndcg
from slmrec.evaluation.ranking import rank_targets
from slmrec.models.encoder import SequenceEncoder, right_padded
from slmrec.progress import Progress
from slmrec.training.batches import (
    Batch,
    batch_count,
    pack,
    packed_batches,
    training_windows,
)
from slmrec.training.recency import choose_half_life, recency_weights

VALIDATION_USERS = 2000
BFLOAT16_WIDTH = 256
"""Layers narrower than this gained little or nothing from bfloat16, the product with the catalogue
always did (8 layers, packed rows of 50, 2 cores with AVX512-BF16; benchmarks/training_step.py)."""

Losses = Mapping[str, Tensor]
"""Each term already weighted; their sum is minimised."""


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
    tokens_per_second: float
    """Training positions, padding not counted."""


def train(
    model: SequenceEncoder,
    loss: Callable[[Batch, torch.dtype], Losses],
    sequences: Sequences,
    config: Training,
    progress: Progress,
    extra_modules: nn.Module | None = None,
) -> tuple[TrainingResult, TrainingSpeed]:
    """Minimise `loss` over packed windows; leave the best validated weights in `model`.

    `loss` receives a batch and the type for its largest matrix products.
    `extra_modules` (projections, heads) are trained too and kept as they were at the last step.
    Raises `SlmrecError` when nothing can be trained on or the loss is not finite.
    """
    with _deterministic():
        return _train(model, loss, sequences, config, progress, extra_modules)


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _train(
    model: SequenceEncoder,
    loss: Callable[[Batch, torch.dtype], Losses],
    sequences: Sequences,
    config: Training,
    progress: Progress,
    extra_modules: nn.Module | None,
) -> tuple[TrainingResult, TrainingSpeed]:
    windows = training_windows(sequences, model.max_length)
    if not windows.targets:
        raise SlmrecError(
            "no user has two training interactions, so there is nothing to learn from; "
            "lower build_sequences.validation_share and test_share or bring more data"
        )
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    precision = choose_precision(config, model.layer_width)
    low_precision = precision.layers == torch.bfloat16
    users, targets = validation_sample(sequences, rng)
    if not len(users):
        progress.say("no user to validate on: training to the last epoch and keeping its weights")
    # The number of rows changes little between epochs; the schedule is fixed from the first.
    packing = pack(windows.length, model.max_length, rng)
    steps = batch_count(packing, config.batch_tokens) * config.epochs
    modules: list[nn.Module] = [model] if extra_modules is None else [model, extra_modules]
    half_life = (
        choose_half_life(sequences, users, targets)
        if config.recency_half_life_days == "auto"
        else config.recency_half_life_days
    )
    weights = recency_weights(sequences, half_life) if half_life else None
    optimizer = torch.optim.AdamW(_parameter_groups(modules, config), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _one_cycle(steps, config.warmup_share))
    history: list[dict[str, float]] = []
    best = Best(-1.0, 0, {})
    started, tokens, step, stale = time.monotonic(), 0, 0, 0
    for epoch in range(1, config.epochs + 1):
        model.train()
        sums: dict[str, float] = {}
        positions = 0
        for batch in packed_batches(sequences, windows, packing, config.batch_tokens, weights):
            with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                terms = loss(batch, precision.head)
            total = torch.stack(list(terms.values())).sum()
            if not torch.isfinite(total):
                raise SlmrecError(
                    f"the loss became {total.item()} in epoch {epoch}; lower training.learning_rate "
                    f"(now {config.learning_rate}) or training.clip_norm"
                )
            optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(
                (p for group in optimizer.param_groups for p in group["params"]), config.clip_norm
            )
            optimizer.step()
            schedule.step()
            step += 1
            count = int((batch.targets > 0).sum())
            positions += count
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.item() * count
            progress.update(step, steps, f"loss {total.item():.3f} · NDCG@10 {best.shown()}")
        tokens += positions
        entry = {"epoch": float(epoch)} | {name: s / positions for name, s in sums.items()}
        if epoch % config.validate_every == 0 or epoch == config.epochs:
            entry["ndcg@10"] = quality = validate(model, sequences, users, targets)
            # While nothing is hit there is nothing to compare: the newest weights are kept.
            if quality > best.ndcg or quality == 0.0 == max(best.ndcg, 0.0):
                best, stale = Best(quality, epoch, _copy_weights(model)), 0
            else:
                stale += 1
        history.append(entry)
        if stale >= config.patience:
            progress.say(f"stopped after epoch {epoch}: no better NDCG@10 in {stale} validations")
            break
        packing = pack(windows.length, model.max_length, rng)
    model.load_state_dict(best.weights, strict=False)
    model.eval()
    seconds = time.monotonic() - started
    progress.update(steps, steps, f"NDCG@10 {best.shown()} on validation")
    result = TrainingResult(
        history,
        best.ndcg,
        best.epoch,
        str(precision),
        packing.filled(windows.length),
        half_life,
    )
    return result, TrainingSpeed(seconds, tokens / max(seconds, 1e-9))


@dataclass(frozen=True)
class Best:
    """The best validation so far."""

    ndcg: float
    epoch: int
    weights: dict[str, Tensor]

    def shown(self) -> str:
        """For a progress note; a dash before the first validation."""
        return f"{self.ndcg:.4f}" if self.epoch else "–"


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    # What is frozen stays as it is, and may be billions of weights.
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    return {
        name: tensor.detach().clone()
        for name, tensor in model.state_dict().items()
        if name not in frozen
    }


def _parameter_groups(modules: list[nn.Module], config: Training) -> list[dict[str, Any]]:
    # Embedding rows of rare items see few gradients: decay would pull them to zero.
    tables = {
        id(parameter)
        for module in modules
        for part in module.modules()
        if isinstance(part, nn.Embedding)
        for parameter in part.parameters()
    }
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    decayed = [p for p in parameters if p.dim() >= 2 and id(p) not in tables]
    others = [p for p in parameters if p.dim() < 2 or id(p) in tables]
    return [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _one_cycle(steps: int, warmup_share: float) -> Callable[[int], float]:
    warmup = max(int(steps * warmup_share), 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return float(0.5 * (1 + np.cos(np.pi * min((step - warmup) / max(steps - warmup, 1), 1))))

    return factor


@dataclass(frozen=True)
class Precision:
    """Types of the matrix products; sums, norms and softmax stay in float32."""

    layers: torch.dtype
    head: torch.dtype
    """Of the product of states and item embeddings."""

    def __str__(self) -> str:
        """For the training record: `float32`, `bfloat16`, or both when they differ."""
        layers, head = (str(dtype).removeprefix("torch.") for dtype in (self.layers, self.head))
        return layers if layers == head else f"{layers} layers, {head} head"


def choose_precision(config: Training, width: int) -> Precision:
    """As configured, or by processor and width: never by a stopwatch.

    The choice changes the weights, so it must come out the same every time on one machine.
    """
    if config.precision == "auto":
        head = torch.bfloat16 if processor_has_bfloat16() else torch.float32
        return Precision(head if width >= BFLOAT16_WIDTH else torch.float32, head)
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    return Precision(dtype, dtype)


def processor_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16 or AMX)."""
    if not cpuinfo.exists():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if "flags" in line), "")
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def validation_sample(sequences: Sequences, rng: np.random.Generator) -> tuple[Int64, Int64]:
    """Users and target positions to validate on, at most `VALIDATION_USERS`."""
    users, targets = sequences.targets("validation")
    if len(users) > VALIDATION_USERS:
        chosen = np.sort(rng.choice(len(users), VALIDATION_USERS, replace=False))
        users, targets = users[chosen], targets[chosen]
    return users, targets


@torch.inference_mode()
def validate(
    model: SequenceEncoder, sequences: Sequences, users: Int64, targets: Int64, batch: int = 256
) -> float:
    """NDCG@10 of the next item over the full catalogue, seen items not ranked."""
    model.eval()
    ranks = []
    for low in range(0, len(users), batch):
        chosen, target = users[low : low + batch], targets[low : low + batch]
        starts = sequences.offsets[chosen]
        histories = [np.asarray(sequences.items[a:b]) for a, b in zip(starts, target, strict=True)]
        scores = model.catalogue_scores(*right_padded(histories, model.max_length)).numpy()
        if not np.isfinite(scores).all():
            raise SlmrecError(
                "the model's scores are not finite on validation; lower training.learning_rate"
            )
        wanted = np.asarray(sequences.items[target])
        ranks.append(rank_targets(scores, histories, wanted, exclude_seen=True))
    return float(ndcg(np.concatenate(ranks), 10).mean()) if ranks else 0.0
