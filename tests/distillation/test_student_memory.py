import numpy as np
import pytest
import torch

from slmrec.data.sequences import Sequences
from slmrec.distillation.student_memory import with_memory
from slmrec.models.counted import Counted
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.memory import FLOOR

SHAPE = DecoderShape(items=12, width=8, heads=2, feed_forward=(8,), max_length=8)


@pytest.fixture
def untaught() -> Decoder:
    torch.manual_seed(0)
    student = Decoder(SHAPE).eval()
    student.items.weight.data.zero_()  # it has no opinion
    return student


def test_transitions_count_where_they_foretell_the_next_item(
    untaught: Decoder, cycles: Sequences
) -> None:
    student, quality = with_memory(untaught, Counted.fit(cycles), 4, cycles, seed=1)
    assert student.memory is not None
    assert student.memory.gain > 0
    assert quality["together"] > 0.95
    assert quality["together"] >= max(quality["transitions"], quality["scores"])


def test_popularity_counts_where_it_is_all_there_is(untaught: Decoder, make_sequences) -> None:
    # Half of the users have come to know item 12, the other half are about to.
    generator = np.random.default_rng(0)
    about_to = [[*(generator.permutation(11)[:6] + 1), 12, 12] for _ in range(40)]
    knowing = [[*(generator.permutation(11)[:3] + 1), 12, 12, 12, 1, 2] for _ in range(40)]
    sequences = make_sequences(about_to + knowing)
    counted = Counted.fit(sequences)
    student, quality = with_memory(untaught, counted, 4, sequences, seed=1)
    memory = student.memory
    assert memory is not None
    counts = counted.popularity.counts
    added = np.log1p(counts / counts.sum() / FLOOR)
    gain = memory.popular[12].item() / added[12]
    np.testing.assert_allclose(memory.popular.numpy(), gain * added, rtol=1e-5)
    assert quality["together"] >= quality["popularity"] > quality["scores"]


def test_the_layers_are_left_as_they_were(untaught: Decoder, cycles: Sequences) -> None:
    student, _ = with_memory(untaught, Counted.fit(cycles), 4, cycles, seed=1)
    for name, tensor in untaught.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name]), name
    assert untaught.memory is None
