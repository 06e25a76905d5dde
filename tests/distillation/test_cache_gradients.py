"""A student must not notice whether the teacher is live or read from its cache.

Every term of the loss that looks at the teacher is a smooth function of what the cache stores, so
rounding what is stored by a relative u changes the term's gradient by a small multiple of u. The
multiple has a size for each term:

- norm: the gradient at the student's state s is 2 (s − t) / N, so rounding t moves it by u ‖t‖ out of
  ‖s − t‖. Between a student of two layers and its teacher of four the two are of one size.
- cosine: the gradient depends on the direction of t alone, which turns by at most u.
- logits: the gradient is (q − p) E with p the softmax of the stored scores. A score errs by at most
  2⁻¹¹ of its distance d to the best, which moves its p ≤ e^−d by at most 2⁻¹¹ d e^−d < 2⁻¹².
- attention: the gradient is linear in the stored weights.

A backward pass through the student stretches these by the condition of its Jacobian, so the bound is
8 u: loose enough for that, and far below what a wrong row, block or item gives, which is of order 1.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from slmrec.config import CacheTeacher, LossWeights
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import CachedTeacher
from slmrec.distillation.distill import distillation_losses
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.student import Scaffold
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import packed_mask, window_rows
from slmrec.progress import Silent
from slmrec.training.batches import Batch, pack, packed_batches, training_windows

OFF = LossWeights(cosine=0, norm=0, multi_supervision=0, logits=0)
BFLOAT16, INT8, FLOAT16 = 2**-8, 1 / 254, 2**-11


@pytest.fixture
def decoder(make_decoder: Callable[..., Decoder]) -> Decoder:
    return make_decoder(max_length=8)


def whole_batch(sequences: Sequences) -> Batch:
    windows = training_windows(sequences, 8)
    packing = pack(windows.length, 8, np.random.default_rng(0))
    return next(iter(packed_batches(sequences, windows, packing, 10**6)))


def live_reading(teacher: Decoder, batch: Batch, top_k: int) -> CachedTeacher:
    said = NetworkTeacher(teacher).read(batch, 2, attention=True)
    best = said.scores.topk(top_k)
    tail = said.scores.logsumexp(1) - best.values.logsumexp(1)
    return CachedTeacher(said.states, best.indices, best.values, tail, said.attention)


def gradient(
    teacher: Decoder, batch: Batch, truth: CachedTeacher, term: str, weights: LossWeights
) -> Tensor:
    """Gradient of one term at a student that is the teacher's first two layers."""
    student = teacher.with_layers([0, 1], 0.0, 0.0).eval()
    scaffold = Scaffold(8, 2, 8)
    terms = distillation_losses(student, scaffold, batch, truth, weights, 64, torch.float32)
    terms[term].backward()
    return torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])


@pytest.mark.parametrize("states", ["bfloat16", "int8"])
@pytest.mark.parametrize("term", ["cosine", "norm", "logits"])
def test_gradients_from_the_cache_equal_those_of_a_live_teacher_within_storage_precision(
    decoder: Decoder, cycles: Sequences, tmp_path: Path, term: str, states: str
) -> None:
    config = CacheTeacher(blocks=2, top_k=4, shards=1, states=states, attention=True)
    write_shard(tmp_path / "c", NetworkTeacher(decoder), cycles, "0/1", config, {}, Silent())
    batch = whole_batch(cycles)
    stored = TeacherCache([tmp_path / "c"], cycles).read(batch.source[batch.targets > 0].numpy())
    live = live_reading(decoder, batch, top_k=4)
    weights = OFF.model_copy(update={term: 1.0})
    found = gradient(decoder, batch, stored, term, weights)
    expected = gradient(decoder, batch, live, term, weights)
    difference = ((found - expected).norm() / expected.norm()).item()
    precision = FLOAT16 if term == "logits" else {"bfloat16": BFLOAT16, "int8": INT8}[states]
    assert 0 < difference < 8 * precision


@pytest.mark.parametrize("damage", ["rows", "blocks", "items"])
def test_bound_is_broken_when_the_cache_says_something_else(
    decoder: Decoder, cycles: Sequences, damage: str
) -> None:
    batch = whole_batch(cycles)
    live = live_reading(decoder, batch, top_k=4)
    wrong = {
        "rows": CachedTeacher(live.states.roll(1, 0), live.top_items, live.top_scores, live.tail),
        "blocks": CachedTeacher(live.states.flip(1), live.top_items, live.top_scores, live.tail),
        "items": CachedTeacher(live.states, live.top_items % 12 + 1, live.top_scores, live.tail),
    }[damage]
    term = "logits" if damage == "items" else "norm"
    weights = OFF.model_copy(update={term: 1.0})
    found = gradient(decoder, batch, wrong, term, weights)
    expected = gradient(decoder, batch, live, term, weights)
    assert (found - expected).norm() / expected.norm() > 10 * 8 * BFLOAT16


@pytest.mark.parametrize("states", ["bfloat16", "int8"])
def test_gradients_of_attention_rows_equal_those_of_a_live_teacher(
    decoder: Decoder, cycles: Sequences, tmp_path: Path, states: str
) -> None:
    config = CacheTeacher(blocks=2, top_k=4, shards=1, states=states, attention=True)
    write_shard(tmp_path / "c", NetworkTeacher(decoder), cycles, "0/1", config, {}, Silent())
    batch = whole_batch(cycles)
    real = batch.targets > 0
    stored = TeacherCache([tmp_path / "c"], cycles).read(batch.source[real].numpy()).attention
    live = live_reading(decoder, batch, top_k=4).attention
    gradients = []
    for rows in (stored, live):
        assert rows is not None
        student = decoder.with_layers([0, 1], 0.0, 0.0).eval()
        mask = packed_mask(batch.segments)
        hidden = student.read(batch.items, batch.positions, mask, 2, attention=True)
        mine = window_rows(hidden.attention, batch.positions, real, 8)
        seen = rows > 0  # KL(teacher ‖ student), as a loss would take it
        (rows[seen] * (rows[seen].log() - mine[seen].log())).sum().backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in student.parameters() if p.grad is not None])
        )
    difference = (gradients[0] - gradients[1]).norm() / gradients[1].norm()
    assert 0 < difference < 8 * FLOAT16
