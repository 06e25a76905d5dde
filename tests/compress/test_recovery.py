from pathlib import Path

import pytest
import torch

from slmrec.compress.recovery import recover
from slmrec.compress.sparsity import Pattern, masks_of, sparsify
from slmrec.compress.structure import prune_feed_forward, prune_layers
from slmrec.config import (
    CacheTeacher,
    DistillStudent,
    LossWeights,
    Recovery,
    Training,
    TrainTeacher,
)
from slmrec.data.sequences import Sequences
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder
from slmrec.progress import Silent
from slmrec.training.pretrain import train_network

QUICK = Training(
    epochs=12,
    learning_rate=1e-2,
    batch_tokens=64,
    dropout=0.0,
    embedding_dropout=0.0,
    precision="float32",
)
DISTILLATION = DistillStudent(
    layers=2, losses=LossWeights(cosine=0, norm=0, multi_supervision=0), training=QUICK
)
GENTLY = Recovery(epochs=2, learning_rate=3e-3)


@pytest.fixture(scope="module")
def learned() -> Decoder:
    from tests.conftest import leave_two_out

    cycles = leave_two_out([[(u + step) % 12 + 1 for step in range(9)] for u in range(60)])
    config = TrainTeacher(
        width=16, layers=2, heads=2, feed_forward=16, max_length=8, training=QUICK
    )
    network, _, _ = train_network(cycles, None, config, Silent())
    assert isinstance(network, Decoder)
    return network


@pytest.fixture
def cache(learned: Decoder, cycles: Sequences, tmp_path: Path) -> TeacherCache:
    config = CacheTeacher(blocks=1, top_k=4, shards=1)
    place = tmp_path / "cache"
    write_shard(place, NetworkTeacher(learned), cycles, "0/1", config, {}, Silent())
    return TeacherCache([place], cycles)


def loss_of(model: Decoder, cycles: Sequences) -> float:
    """Cross-entropy of every next item."""
    items = torch.from_numpy(cycles.items.astype("int64")).view(60, 9)
    positions = torch.arange(8).expand(60, 8)
    with torch.inference_mode():
        scores = model.eval()(items[:, :8], positions)[-1] @ model.items.weight.T
        targets = items[:, 1:].flatten()
        return torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets).item()


def test_what_pruning_cost_comes_back(
    learned: Decoder, cycles: Sequences, cache: TeacherCache
) -> None:
    pruned = prune_feed_forward(prune_layers(learned, [1]), 0.5, cycles.sample_histories("train"))
    before = {name: tensor.clone() for name, tensor in pruned.state_dict().items()}
    made = recover(pruned, cycles, cache, DISTILLATION, GENTLY, Silent())
    assert made.student.shape == pruned.shape
    assert loss_of(made.student, cycles) < 0.8 * loss_of(pruned, cycles)
    assert all(torch.equal(before[name], t) for name, t in pruned.state_dict().items())
    assert len(made.training.history) == 2


def test_zeros_stay_zeros_and_the_rest_moves(
    learned: Decoder, cycles: Sequences, cache: TeacherCache
) -> None:
    sparse = sparsify(learned, "wanda", Pattern(0.5), cycles.sample_histories("train"))
    masks = masks_of(sparse)
    made = recover(sparse, cycles, cache, DISTILLATION, GENTLY, Silent())
    for name, parameter in made.student.named_parameters():
        if name in masks:
            assert not parameter[~masks[name]].any(), name
            assert not torch.equal(parameter, dict(sparse.named_parameters())[name]), name


def test_layers_that_do_not_fall_into_the_blocks_are_refused(
    learned: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    config = CacheTeacher(blocks=2, top_k=4, shards=1)
    place = tmp_path / "two"
    write_shard(place, NetworkTeacher(learned), cycles, "0/1", config, {}, Silent())
    cache = TeacherCache([place], cycles)
    with pytest.raises(ConfigError, match="cannot be divided into the 2 blocks"):
        recover(prune_layers(learned, [0]), cycles, cache, DISTILLATION, GENTLY, Silent())
