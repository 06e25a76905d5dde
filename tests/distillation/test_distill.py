from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from slmrec.config import CacheTeacher, DistillStudent, LossWeights, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache import CachedTeacher, TeacherCache, write_shard
from slmrec.distillation.distill import SupervisionHeads, distill, distillation_losses
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import packed_mask
from slmrec.progress import Silent
from slmrec.training.batches import Batch, pack, packed_batches, training_windows
from slmrec.training.pretrain import train_teacher

QUICK = Training(
    epochs=10,
    learning_rate=1e-2,
    batch_tokens=64,
    dropout=0.0,
    embedding_dropout=0.0,
    precision="float32",
)


def cached(folder: Path, teacher: Decoder, sequences: Sequences, blocks: int) -> TeacherCache:
    config = CacheTeacher(blocks=blocks, top_k=4, shards=1)
    write_shard(folder / "cache", teacher, sequences, "0/1", config, {}, Silent())
    return TeacherCache([folder / "cache"], sequences)


def whole_batch(sequences: Sequences) -> Batch:
    windows = training_windows(sequences, 8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    return next(iter(packed_batches(sequences, windows, packing, 10**6)))


@pytest.fixture
def untrained() -> Decoder:
    torch.manual_seed(5)
    shape = DecoderShape(items=12, width=8, heads=2, feed_forward=(8, 8, 8, 8), max_length=8)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def test_student_learns_from_the_cache_without_a_teacher_forward_pass(
    tmp_path: Path, cycles: Sequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainTeacher(
        width=16, layers=4, heads=2, feed_forward=16, max_length=8, training=QUICK
    )
    teacher, _, _ = train_teacher(cycles, None, config, Silent())
    cache = cached(tmp_path, teacher, cycles, blocks=1)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the teacher ran")

    monkeypatch.setattr(teacher, "forward", refuse)
    made = distill(teacher, cycles, cache, DistillStudent(layers=1, training=QUICK), Silent())
    assert len(made.student.layers) == 1
    assert made.training.best_ndcg > 0.95
    assert set(made.training.history[0]) == {"epoch", "ce", "cosine", "norm", "logits"}
    assert made.distance["blocks"][0]["cosine"] > 0.5
    assert made.distance["certified_share"] <= made.distance["same_first_share"] <= 1


def test_terms_that_compare_with_the_teacher_vanish_when_the_student_is_the_teacher(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=2)
    batch = whole_batch(cycles)
    truth = cache.read(batch.source[batch.targets > 0].numpy())
    heads = SupervisionHeads(8, 2)
    weights = LossWeights(cosine=1, norm=1, multi_supervision=0, logits=1)
    terms = distillation_losses(untrained, heads, batch, truth, weights, 64, torch.float32)
    assert set(terms) == {"ce", "cosine", "norm", "logits"}
    assert terms["cosine"].item() == pytest.approx(0, abs=1e-4)  # bfloat16 rounding only
    assert terms["norm"].item() == pytest.approx(0, abs=1e-4)
    assert terms["logits"].item() == pytest.approx(0, abs=1e-4)
    assert terms["ce"].item() > 0.1


def test_terms_are_averages_over_blocks_and_real_positions(
    untrained: Decoder, cycles: Sequences
) -> None:
    batch = whole_batch(cycles)
    real = batch.targets > 0
    count = int(real.sum())
    torch.manual_seed(0)
    fake = CachedTeacher(
        torch.randn(count, 2, 8), torch.randint(1, 13, (count, 4)), torch.randn(count, 4)
    )
    heads = SupervisionHeads(8, 2)
    weights = LossWeights(cosine=0.5, norm=0.25, multi_supervision=2.0, logits=0)
    terms = distillation_losses(untrained, heads, batch, fake, weights, 64, torch.float32)
    inner, last = untrained(batch.items, batch.positions, packed_mask(batch.segments), 2)
    inner, last = inner[real], last[real]
    pairs = [(inner, fake.states[:, 0]), (last, fake.states[:, 1])]
    cosine = sum((1 - F.cosine_similarity(s, t, dim=1)).mean() for s, t in pairs) / 2
    norm = sum(((s - t) ** 2).mean() for s, t in pairs) / 2
    scores = heads.heads[0](inner) @ untrained.items.weight[1:].T
    supervision = F.cross_entropy(scores, batch.targets[real] - 1)
    assert terms["cosine"].item() == pytest.approx(0.5 * cosine.item(), rel=1e-4)
    assert terms["norm"].item() == pytest.approx(0.25 * norm.item(), rel=1e-4)
    assert terms["multi_supervision"].item() == pytest.approx(2 * supervision.item(), rel=1e-4)


def test_gradients_from_the_cache_equal_those_of_a_live_teacher_within_storage_precision(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1)
    batch = whole_batch(cycles)
    real = batch.targets > 0
    with torch.no_grad():
        state = untrained(batch.items, batch.positions, packed_mask(batch.segments))[-1][real]
        best = (state @ untrained.items.weight[1:].T).topk(4)
    live = CachedTeacher(state[:, None], best.indices + 1, best.values)
    gradients = []
    for truth in (cache.read(batch.source[real].numpy()), live):
        student = untrained.first_layers(2, 0.0, 0.0).eval()
        terms = distillation_losses(
            student, SupervisionHeads(8, 1), batch, truth, LossWeights(), 64, torch.float32
        )
        sum(terms.values()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters()]))
    difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert difference < 5e-3
    assert difference > 0  # the cache is what was read


def test_no_gradient_reaches_the_teacher(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1)
    before = {name: tensor.clone() for name, tensor in untrained.state_dict().items()}
    once = QUICK.model_copy(update={"epochs": 1})
    distill(untrained, cycles, cache, DistillStudent(layers=2, training=once), Silent())
    assert all(torch.equal(tensor, before[name]) for name, tensor in untrained.state_dict().items())
    assert all(parameter.grad is None for parameter in untrained.parameters())


def test_student_is_refused_when_its_layers_do_not_divide_into_the_blocks(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=2)
    with pytest.raises(ConfigError, match="cannot be divided into the 2 blocks"):
        distill(untrained, cycles, cache, DistillStudent(layers=1, training=QUICK), Silent())
