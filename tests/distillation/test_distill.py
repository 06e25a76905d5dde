from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from slmrec.artifacts import publish
from slmrec.config import (
    CacheTeacher,
    DistillStudent,
    LossWeights,
    SequenceWeights,
    Training,
    TrainTeacher,
)
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import CachedTeacher
from slmrec.distillation.distill import distill, distillation_losses
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.student import Scaffold
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.errors import ConfigError
from slmrec.models.checkpoint import write_model
from slmrec.models.decoder import Attention, Decoder, DecoderShape
from slmrec.models.encoder import packed_mask
from slmrec.progress import Silent
from slmrec.training.batches import Batch, pack, packed_batches, training_windows
from slmrec.training.negatives import NegativeSampler
from slmrec.training.pretrain import train_network

QUICK = Training(
    epochs=10,
    learning_rate=1e-2,
    batch_tokens=64,
    dropout=0.0,
    embedding_dropout=0.0,
    precision="float32",
)


def cached(
    folder: Path, teacher: Decoder, sequences: Sequences, blocks: int, **settings: object
) -> TeacherCache:
    config = CacheTeacher.model_validate({"blocks": blocks, "top_k": 4, "shards": 1, **settings})
    live = NetworkTeacher(teacher)
    write_shard(folder / "cache", live, sequences, "0/1", config, {}, Silent())
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
    teacher, _, _ = train_network(cycles, None, config, Silent())
    cache = cached(tmp_path, teacher, cycles, blocks=1)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the teacher ran")

    monkeypatch.setattr(teacher, "read", refuse)  # `forward` calls it, too
    made = distill(teacher, cycles, cache, DistillStudent(layers=1, training=QUICK), Silent())
    assert len(made.student.layers) == 1
    assert made.training.best_ndcg > 0.95
    assert set(made.training.history[0]) == {"epoch", "ce", "cosine", "norm", "logits"}
    assert made.report["blocks"][0]["cosine"] > 0.5
    assert made.report["certified_share"] <= made.report["same_first_share"] <= 1


def test_terms_that_compare_with_the_teacher_vanish_when_the_student_is_the_teacher(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=2, top_k=12, attention=True)
    batch = whole_batch(cycles)
    truth = cache.read(batch.source[batch.targets > 0].numpy())
    scaffold = Scaffold(8, 2, 8)
    weights = LossWeights(cosine=1, norm=1, multi_supervision=0, logits=1, attention=1)
    terms = distillation_losses(untrained, scaffold, batch, truth, weights, 64, torch.float32)
    assert set(terms) == {"ce", "cosine", "norm", "logits", "attention"}
    for name in ("cosine", "norm", "logits", "attention"):  # rounding of the cache only
        assert terms[name].item() == pytest.approx(0, abs=1e-4)
    assert terms["ce"].item() > 0.1


def test_terms_are_averages_over_blocks_and_real_positions(
    untrained: Decoder, cycles: Sequences
) -> None:
    batch = whole_batch(cycles)
    real = batch.targets > 0
    count = int(real.sum())
    torch.manual_seed(0)
    fake = CachedTeacher(
        torch.randn(count, 2, 8),
        torch.randint(1, 13, (count, 4)),
        torch.randn(count, 4),
        torch.zeros(count),
    )
    scaffold = Scaffold(8, 2, 8)
    weights = LossWeights(cosine=0.5, norm=0.25, multi_supervision=2.0, logits=0)
    terms = distillation_losses(untrained, scaffold, batch, fake, weights, 64, torch.float32)
    inner, last = untrained(batch.items, batch.positions, packed_mask(batch.segments), 2)
    inner, last = inner[real], last[real]
    pairs = [(inner, fake.states[:, 0]), (last, fake.states[:, 1])]
    cosine = sum((1 - F.cosine_similarity(s, t, dim=1)).mean() for s, t in pairs) / 2
    norm = sum(((s - t) ** 2).mean() for s, t in pairs) / 2
    scores = scaffold.heads[0](inner) @ untrained.items.weight[1:].T
    supervision = F.cross_entropy(scores, batch.targets[real] - 1)
    assert terms["cosine"].item() == pytest.approx(0.5 * cosine.item(), rel=1e-4)
    assert terms["norm"].item() == pytest.approx(0.25 * norm.item(), rel=1e-4)
    assert terms["multi_supervision"].item() == pytest.approx(2 * supervision.item(), rel=1e-4)


def test_no_gradient_reaches_the_teacher(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1)
    before = {name: tensor.clone() for name, tensor in untrained.state_dict().items()}
    once = QUICK.model_copy(update={"epochs": 1})
    distill(untrained, cycles, cache, DistillStudent(layers=2, training=once), Silent())
    assert all(torch.equal(tensor, before[name]) for name, tensor in untrained.state_dict().items())
    assert all(parameter.grad is None for parameter in untrained.parameters())


@pytest.mark.parametrize("negatives", [None, 12])
def test_logits_are_compared_over_the_catalogue_or_what_stands_for_it(
    untrained: Decoder, cycles: Sequences, tmp_path: Path, negatives: int | None
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1)
    batch = whole_batch(cycles)
    real = batch.targets > 0
    truth = cache.read(batch.source[real].numpy())
    if negatives is not None:  # all twelve items are drawn
        config = Training(loss="sampled_softmax", negatives=negatives)
        sampler = NegativeSampler(cycles, config, torch.device("cpu"))
        batch = replace(batch, negatives=sampler.draw(np.random.default_rng(0)))
    student = untrained.with_layers([3], 0.0, 0.0)
    weights = LossWeights(cosine=0, norm=0, multi_supervision=0, logits=0.5)
    terms = distillation_losses(
        student, Scaffold(8, 1, 8), batch, truth, weights, 64, torch.float32
    )
    states = student(batch.items, batch.positions, packed_mask(batch.segments))[-1][real]
    log_student = (states @ student.items.weight[1:].T).log_softmax(dim=1)
    shares = truth.top_scores.softmax(dim=1)
    each = shares * (shares.log() - log_student.gather(1, truth.top_items - 1))
    assert terms["logits"].item() == pytest.approx(0.5 * each.sum(dim=1).mean().item(), rel=1e-4)


def test_only_cross_entropies_are_weighted_when_targets_do_not_count_alike(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=2, attention=True)
    batch = whole_batch(cycles)
    truth = cache.read(batch.source[batch.targets > 0].numpy())
    student = untrained.with_layers([0, 2], 0.0, 0.0)
    scaffold = Scaffold(8, 2, 8)
    weights = LossWeights(attention=1)
    uneven = replace(batch, weights=batch.weights * (1 + batch.positions.float()))
    alike, weighted = (
        distillation_losses(student, scaffold, one, truth, weights, 64, torch.float32)
        for one in (batch, uneven)
    )
    changed = {name for name in alike if alike[name].item() != weighted[name].item()}
    assert changed == {"ce", "multi_supervision"}


def test_every_term_is_reported_and_only_what_serves_is_left_when_widths_differ(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=2, attention=True)
    weights = LossWeights(multi_supervision=0.1, logits=0.5, temperature=2, attention=0.2)
    config = DistillStudent(
        layers=2,
        width=4,
        heads=1,
        losses=weights,
        sequence_weights=SequenceWeights(position_half_life=3.0),
        training=QUICK.model_copy(update={"epochs": 1}),
    )
    made = distill(untrained, cycles, cache, config, Silent())
    terms = {"ce", "cosine", "norm", "multi_supervision", "logits", "attention"}
    assert terms < set(made.training.history[0])
    assert made.report["certified_share"] is None
    with publish(tmp_path / "student", "student") as staging:
        write_model(staging, made.student)
    stored = load_file(tmp_path / "student" / "weights.safetensors")
    plain = Decoder(made.student.shape).state_dict()
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: tensor.shape for name, tensor in plain.items()
    }


def test_attention_is_not_computed_when_its_term_is_off(
    untrained: Decoder, cycles: Sequences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1, attention=True)
    batch = whole_batch(cycles)
    truth = cache.read(batch.source[batch.targets > 0].numpy())

    def refuse(*_: object) -> None:
        raise AssertionError("attention rows were computed")

    monkeypatch.setattr(Attention, "rows", refuse)
    off = LossWeights()
    distillation_losses(untrained, Scaffold(8, 1, 8), batch, truth, off, 64, torch.float32)
    on = LossWeights(attention=0.1)
    with pytest.raises(AssertionError, match="were computed"):
        distillation_losses(untrained, Scaffold(8, 1, 8), batch, truth, on, 64, torch.float32)


def test_student_learns_when_there_is_no_network_to_start_from(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1)
    losses = LossWeights(cosine=0, norm=0, logits=0)
    config = DistillStudent(layers=1, losses=losses, training=QUICK)
    made = distill(None, cycles, cache, config, Silent())
    assert made.training.best_ndcg > 0.95


def test_student_is_refused_when_its_layers_do_not_divide_into_the_blocks(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=2)
    with pytest.raises(ConfigError, match="cannot be divided into the 2 blocks"):
        distill(untrained, cycles, cache, DistillStudent(layers=1, training=QUICK), Silent())


def test_attention_loss_is_refused_when_the_cache_has_no_attention(
    untrained: Decoder, cycles: Sequences, tmp_path: Path
) -> None:
    cache = cached(tmp_path, untrained, cycles, blocks=1)
    config = DistillStudent(losses=LossWeights(attention=0.1), training=QUICK)
    with pytest.raises(ConfigError, match=r"set cache_teacher\.attention to true"):
        distill(untrained, cycles, cache, config, Silent())
