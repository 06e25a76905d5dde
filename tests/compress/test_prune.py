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
    assert made.memory is not None
    assert (made.memory.weights > 0).sum() <= 3 * 13
    zeros = [(p == 0).float().mean().item() for n, p in made.named_parameters() if "_proj" in n]
    np.testing.assert_allclose(zeros, 0.5)
    scores = made.catalogue_scores(torch.tensor([[1, 2, 3]]), torch.tensor([2]))
    assert torch.isfinite(scores).all()


def test_transitions_stay_by_their_share_and_by_how_often_their_item_is_met() -> None:
    student = Decoder(
        DecoderShape(items=3, width=8, heads=1, feed_forward=(8,), max_length=4, memory=3)
    )
    assert student.memory is not None
    # Shares .5 .3 .2 of item 1, .6 .4 of item 2, 1 of item 3; met 1, 100 and 4 times, so worth
    # .5 .3 .2, 6 4 and 2: on average one an item, of four rows, are 6, 4, 2 and .5.
    student.memory.neighbours.copy_(torch.tensor([[0, 0, 0], [2, 3, 1], [3, 1, 0], [1, 0, 0]]))
    student.memory.weights.copy_(
        torch.tensor([[0, 0, 0], [5.0, 3, 2], [0.6, 0.4, 0], [7, 0, 0]], dtype=torch.float32)
    )
    made = prune_memory(student, 1, np.array([0, 1, 100, 4]))
    assert made.memory is not None
    assert made.shape.memory == 2
    assert made.memory.neighbours.tolist() == [[0, 0], [2, 0], [3, 1], [1, 0]]
    assert made.memory.weights.numpy() == pytest.approx(
        np.array([[0, 0], [5, 0], [0.6, 0.4], [7, 0]], np.float32)
    )


def test_all_else_of_a_memory_stays(student: Decoder, cycles: Sequences) -> None:
    made = prune(student, Variant(name="v", memory=2), cycles)
    assert made.memory is not None
    assert student.memory is not None
    kept, had = ((one.memory.weights > 0).sum() for one in (made, student))
    assert 0 < kept <= 2 * 13 < had
    assert torch.equal(made.memory.popular, student.memory.popular)
    assert made.memory.gain == student.memory.gain
    items, last = torch.tensor([[1, 2, 3]]), torch.tensor([2])
    assert torch.equal(made.last_states(items, last), student.last_states(items, last))


def test_more_layers_than_there_are_is_refused(student: Decoder, cycles: Sequences) -> None:
    with pytest.raises(ConfigError, match="'v' keeps 4 layers, the student has 3"):
        prune(student, Variant(name="v", layers=4), cycles)
