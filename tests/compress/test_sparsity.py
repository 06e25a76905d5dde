import numpy as np
import pytest
import torch

from slmrec.compress.sparsity import (
    DAMPING,
    Pattern,
    input_grams,
    masks_of,
    sparsegpt,
    sparsify,
    wanda_mask,
)
from slmrec.errors import ConfigError
from slmrec.models.decoder import Decoder, DecoderShape

SAMPLE = [np.asarray(history, dtype=np.int32) for history in ([1, 2, 3], [4, 5], [6])]
HALF = Pattern(0.5)


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(6)
    shape = DecoderShape(items=9, width=8, heads=2, feed_forward=(16,), max_length=5)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_wanda_keeps_what_weighs_most_on_its_inputs() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.1, 0.2, 0.3, 0.4]])
    norm = torch.tensor([10.0, 1.0, 0.5, 4.0])
    # |w| · norm: 10, 2, 1.5, 2 and 1, 0.2, 0.15, 1.6; of equal ones the first stays
    kept = wanda_mask(weight, norm, HALF)
    assert kept.tolist() == [[True, True, False, False], [True, False, False, True]]


def test_two_of_every_four_neighbours_stay_when_the_pattern_says_so() -> None:
    weight = torch.tensor([[9.0, 8.0, 7.0, 6.0, 0.4, 0.3, 0.2, 0.1]])
    kept = wanda_mask(weight, torch.ones(8), Pattern(two_of_four=True))
    assert kept.tolist() == [[True, True, False, False, True, True, False, False]]


def test_rows_of_another_length_are_refused_by_two_of_four() -> None:
    with pytest.raises(ConfigError, match="expected a multiple of 4"):
        wanda_mask(torch.ones(1, 6), torch.ones(6), Pattern(two_of_four=True))


def test_sparsegpt_is_magnitude_pruning_when_inputs_are_independent_and_alike() -> None:
    weight = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.4, 0.1, 0.2, 0.3]])
    found = sparsegpt(weight, torch.eye(4), HALF)
    expected = torch.tensor([[0.0, -2.0, 3.0, 0.0], [0.4, 0.0, 0.0, 0.3]])
    torch.testing.assert_close(found, expected)


def test_sparsegpt_lets_a_twin_take_over_what_goes() -> None:
    # Inputs 0 and 1 are nearly the same; 2 is large and apart. One of two twins can carry both.
    generator = torch.Generator().manual_seed(0)
    twin = torch.randn(500, 1, generator=generator)
    noise = 0.01 * torch.randn(500, 1, generator=generator)
    other = 5 * torch.randn(500, 2, generator=generator)
    inputs = torch.cat([twin, twin + noise, other], dim=1)
    weight = torch.tensor([[1.0, 1.1, 2.0, 0.01]])
    gram = inputs.T @ inputs
    found = sparsegpt(weight, gram, HALF)
    assert (found != 0).sum() == 2
    assert found[0, 0] == 0
    # least squares on the damped Hessian: what input 1 alone takes over of input 0
    takes_over = gram[0, 1] / (gram[1, 1] + DAMPING * gram.diagonal().mean())
    assert found[0, 1].item() == pytest.approx(1.1 + takes_over.item(), abs=0.01)
    error = (inputs @ (found - weight).T).norm()
    masked = weight * wanda_mask(weight, (inputs**2).sum(0).sqrt(), HALF)
    assert error < 0.2 * (inputs @ (masked - weight).T).norm()


def test_inputs_that_never_come_get_no_weight() -> None:
    gram = torch.diag(torch.tensor([1.0, 0.0, 1.0, 1.0]))
    found = sparsegpt(torch.ones(1, 4), gram, Pattern(0.25))
    assert found[0, 1] == 0
    assert (found != 0).sum() == 3


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
@pytest.mark.parametrize("pattern", [HALF, Pattern(two_of_four=True)])
def test_half_of_every_row_is_zero_and_the_rest_of_the_model_as_it_was(
    model: Decoder, method, pattern: Pattern
) -> None:
    made = sparsify(model, method, pattern, SAMPLE)
    for name, mask in masks_of(made).items():
        assert (mask.sum(dim=1) <= mask.shape[1] // 2).all(), name
        assert mask.any(), name
    torch.testing.assert_close(made.items.weight, model.items.weight)
    torch.testing.assert_close(made.norm.weight, model.norm.weight)
    assert all(mask.all() for mask in masks_of(model).values())


def test_grams_are_those_of_real_positions(model: Decoder) -> None:
    together = input_grams(model, SAMPLE)
    alone = [input_grams(model, [history]) for history in SAMPLE]
    for name, gram in together.items():
        torch.testing.assert_close(gram, sum(one[name] for one in alone), atol=1e-4, rtol=1e-4)
    hidden = model.layers[0].input_layernorm(model.items(torch.tensor([6])))[0]
    torch.testing.assert_close(alone[2]["layers.0.self_attn.q_proj"], torch.outer(hidden, hidden))
