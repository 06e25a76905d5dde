import numpy as np
import pytest
import torch

from slmrec.compress.prune import prune, prune_memory
from slmrec.config import Sparsity, Variant
from slmrec.data.sequences import Sequences
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.transitions import Transitions


@pytest.fixture
def student(cycles: Sequences) -> Decoder:
    torch.manual_seed(6)
    shape = DecoderShape(
        items=12, width=8, heads=2, feed_forward=(16, 16, 16), max_length=8, memory=6
    )
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert model.memory is not None
    model.memory.remember(Transitions.fit(cycles))
    model.memory.gain.fill_(1.5)
    model.memory.popular.copy_(torch.arange(13) / 10)
    return model


def test_nothing_changes_when_the_variant_takes_nothing(
    student: Decoder, cycles: Sequences
) -> None:
    assert prune(student, Variant(name="v"), cycles) is student


def test_everything_is_taken_that_the_variant_names(student: Decoder, cycles: Sequences) -> None:
    variant = Variant(
        name="v",
        layers=2,
        heads_share=0.5,
        feed_forward_share=0.5,
        sparsity=Sparsity(method="sparsegpt", share=0.5),
        memory=3,
    )
    made = prune(student, variant, cycles)
    shape = made.shape
    assert (shape.layers, shape.kept_heads, shape.feed_forward) == (2, (1, 1), (8, 8))
    assert shape.memory == 3
    zeros = [(p == 0).float().mean().item() for n, p in made.named_parameters() if "_proj" in n]
    np.testing.assert_allclose(zeros, 0.5)
    scores = made.catalogue_scores(torch.tensor([[1, 2, 3]]), torch.tensor([2]))
    assert torch.isfinite(scores).all()


def test_the_strongest_transitions_and_all_that_is_popular_stay(student: Decoder) -> None:
    made = prune_memory(student, 2)
    assert made.memory is not None
    assert student.memory is not None
    assert torch.equal(made.memory.neighbours, student.memory.neighbours[:, :2])
    assert torch.equal(made.memory.weights, student.memory.weights[:, :2])
    assert torch.equal(made.memory.popular, student.memory.popular)
    assert made.memory.gain == student.memory.gain
    items, last = torch.tensor([[1, 2, 3]]), torch.tensor([2])
    assert torch.equal(made.last_states(items, last), student.last_states(items, last))


def test_more_layers_than_there_are_is_refused(student: Decoder, cycles: Sequences) -> None:
    with pytest.raises(ConfigError, match="'v' keeps 4 layers, the student has 3"):
        prune(student, Variant(name="v", layers=4), cycles)
