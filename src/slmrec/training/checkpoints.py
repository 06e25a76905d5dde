"""A training that was stopped goes on where it was, to the bit.

After an epoch everything that the next one starts from is written beside the last checkpoint and
published whole, then the older one is removed. A checkpoint names the training it belongs to, by a
digest over all that decides the result; one of another training, or a damaged one, is left alone.
"""

import hashlib
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from slmrec.artifacts import Artifact, open_artifact, publish, write_json
from slmrec.data.sequences import Sequences
from slmrec.errors import ArtifactError
from slmrec.progress import Progress
from slmrec.training.optimizer import AdamW
from slmrec.training.parallel import World

KIND = "checkpoint"
TENSORS = "tensors.safetensors"
STATE = "state.json"
CHECKPOINT_SECONDS = 20.0
"""Least time between two checkpoints of a process; what an interruption costs at most, and an epoch."""


@dataclass(frozen=True)
class Best:
    """The best validation so far."""

    ndcg: float = -1.0
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Of the model, as `learned_state` gives them, on the CPU."""

    def shown(self) -> str:
        """For a progress note; a dash before the first validation."""
        return f"{self.ndcg:.4f}" if self.epoch else "–"


@dataclass
class Reached:
    """Where a training is after an epoch, apart from parameters, moments and generators."""

    epoch: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Spent so far, over all interruptions."""
    stale: int = 0
    """Validations since the best one."""
    history: list[dict[str, float]] = field(default_factory=list)
    best: Best = field(default_factory=Best)

    def judge(self, ndcg: float, epoch: int, model: nn.Module) -> None:
        """Take note of a validation, and of the model's weights when it is the best one.

        While nothing is hit there is nothing to compare: the newest weights are kept.
        """
        if ndcg > self.best.ndcg or ndcg == 0.0 == max(self.best.ndcg, 0.0):
            weights = {n: t.to("cpu", copy=True) for n, t in learned_state(model).items()}
            self.best, self.stale = Best(ndcg, epoch, weights), 0
        else:
            self.stale += 1


@dataclass(frozen=True)
class _Loaded:
    """A checkpoint and what it holds."""

    artifact: Artifact
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def learned_state(module: nn.Module) -> dict[str, Tensor]:
    """The weights and buffers that training may change: what is frozen may be billions of weights."""
    frozen = {name for name, weight in module.named_parameters() if not weight.requires_grad}
    state = module.state_dict().items()
    return {name: tensor.detach() for name, tensor in state if name not in frozen}


def training_identity(module: nn.Module, sequences: Sequences, others: Iterable[str]) -> str:
    """A digest over all that decides how a training ends.

    That is the initial parameters with their names and shapes, the sequences, and `others`, texts
    that tell settings, loss, number types and whatever the loss reads.
    """
    digest = hashlib.sha256("\0".join(others).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"\0{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    digest.update(f"\0{sequences.item_count}\0".encode())
    if sequences.artifact is not None:
        digest.update(sequences.artifact.digest.encode())
    else:
        for name in ("offsets", "items", "timestamps", "train_end", "validation_end"):
            digest.update(np.ascontiguousarray(getattr(sequences, name)).data)
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints of one training in one directory; without a directory nothing is kept."""

    def __init__(
        self, directory: Path | None, identity: str, world: World, progress: Progress
    ) -> None:
        """`identity` tells this training from all others."""
        self._directory = directory
        self._identity = identity
        self._world = world
        self._progress = progress
        self._written: float | None = None

    def resume(self, module: nn.Module, optimizer: AdamW, rng: np.random.Generator) -> Reached:
        """Put module, optimizer and generators where the newest checkpoint left them.

        Returns a fresh one, and changes nothing, when there is none that can be used, or not the
        same one for every process.
        """
        found = self._newest()
        epoch = 0 if found is None else int(found.artifact.properties["epoch"])
        everyones = self._world.gather(torch.tensor([epoch]))
        if found is None or any(int(theirs) != epoch for theirs in everyones):
            return Reached()
        tensors, state = found.tensors, found.state
        module.load_state_dict(_part(tensors, "module"), strict=False)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer").items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = tensor
        optimizer.go_on_from(moments)
        rng.bit_generator.state = state["generator"]
        _set_torch_generators(_part(tensors, f"generator.{self._world.rank}"), self._world.device)
        best = Best(state["best_ndcg"], state["best_epoch"], _part(tensors, "best"))
        self._progress.say(f"going on after epoch {epoch} from {found.artifact.path}")
        counters = {name: state[name] for name in ("step", "tokens", "seconds", "stale")}
        history = [dict(entry) for entry in state["history"]]
        return Reached(epoch=epoch, **counters, history=history, best=best)

    def save(
        self,
        reached: Reached,
        module: nn.Module,
        optimizer: AdamW,
        rng: np.random.Generator,
        *,
        at_once: bool = False,
    ) -> None:
        """Write a checkpoint, `at_once` or unless the last one is younger than `CHECKPOINT_SECONDS`.

        All processes take part, the first one writes. A disk that takes no more is told about and
        does not end the training.
        """
        if self._directory is None:
            return
        generators = {
            f"generator.{rank}.{name}": state
            for name, mine in _torch_generators(self._world.device).items()
            for rank, state in enumerate(self._world.gather(mine))
        }
        now = time.monotonic()
        young = self._written is not None and now - self._written < CHECKPOINT_SECONDS
        early = young and not at_once
        if early or not self._world.leads:
            return
        self._written = now
        tensors = {f"module.{name}": tensor for name, tensor in learned_state(module).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in reached.best.weights.items()}
        for number, moments in optimizer.moments.items():
            tensors |= {f"optimizer.{number}.{key}": tensor for key, tensor in moments.items()}
        state = {
            "step": reached.step,
            "tokens": reached.tokens,
            "seconds": reached.seconds,
            "stale": reached.stale,
            "history": [list(entry.items()) for entry in reached.history],  # in their order
            "best_ndcg": reached.best.ndcg,
            "best_epoch": reached.best.epoch,
            "generator": rng.bit_generator.state,
        }
        place = self._directory / f"epoch-{reached.epoch:06d}"
        properties = {"training": self._identity, "epoch": reached.epoch}
        try:
            with publish(place, KIND, config=self._identity, properties=properties) as staging:
                on_cpu = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
                save_file(on_cpu | generators, staging / TENSORS)
                write_json(staging / STATE, state)
            for other in self._all():
                if other != place:
                    shutil.rmtree(other)
        except (OSError, SafetensorError) as error:
            self._progress.say(f"{place}: no checkpoint, the training goes on without it ({error})")

    def remove(self) -> None:
        """Remove the directory: the training is done."""
        if self._directory is not None and self._world.leads:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _all(self) -> list[Path]:
        """Checkpoints, the newest first, and what writers who were killed left of theirs."""
        assert self._directory is not None
        left = self._directory.glob(".epoch-*")
        return [*sorted(self._directory.glob("epoch-*"), reverse=True), *left]

    def _newest(self) -> "_Loaded | None":
        """The newest checkpoint of this training that is whole.

        It is read at once: another run of the same training may remove it.
        """
        for place in self._all() if self._directory is not None else []:
            if place.name.startswith("."):
                continue
            try:
                found = open_artifact(place, KIND)
                if found.properties["training"] == self._identity:
                    return _Loaded(found, load_file(found.file(TENSORS)), found.json(STATE))
            except (ArtifactError, OSError, SafetensorError, ValueError) as error:
                self._progress.say(f"checkpoint not used: {error}")
                continue
            self._progress.say(
                f"checkpoint not used: {place} belongs to a training with other settings or data"
            )
        return None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): tensor for n, tensor in tensors.items() if n.startswith(start)}


def _torch_generators(device: torch.device) -> dict[str, Tensor]:
    """States of the generators that dropout draws from: uint8 each."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_torch_generators(states: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
