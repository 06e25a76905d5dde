import numpy as np
import pytest
import torch

from slmrec.compress.calibration import measure_reaches, meeting_point, smoothed
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import right_padded


def histories(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, 41, size=length).astype(np.int32) for length in lengths]


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(3)
    made = Decoder(DecoderShape(items=40, width=16, heads=2, feed_forward=(24, 24), max_length=8))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        made.layers[0].input_layernorm.weight[3] = 50.0  # a channel that stands out
    return made.eval()


def test_reaches_are_the_largest_entries_at_real_positions(model: Decoder) -> None:
    sample = histories(5, 2, 8)
    found = measure_reaches(model, sample)
    items, last = right_padded(sample, 8)
    states = model(items, torch.arange(8).expand_as(items))[-1]
    real = torch.arange(8)[None] <= last[:, None]
    torch.testing.assert_close(found.states, states[real].abs().amax(dim=0).detach())
    normed = model.layers[0].input_layernorm(model.items(items))[real].detach()
    assert found.matrices["layers.0.self_attn.k_proj"] == pytest.approx(float(normed.abs().max()))
    assert set(found.matrices) == {
        f"layers.{layer}.{name}"
        for layer in (0, 1)
        for name in (
            *(f"self_attn.{part}_proj" for part in "qkvo"),
            *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
        )
    }


def test_a_smoothed_model_computes_the_same_and_no_channel_stands_out(model: Decoder) -> None:
    sample = histories(5, 2, 8, 8, 7)
    made = smoothed(model, sample)
    items, last = right_padded(sample, 8)
    expected = model.catalogue_scores(items, last)
    torch.testing.assert_close(made.catalogue_scores(items, last), expected, rtol=1e-4, atol=1e-4)

    def spread(of: Decoder) -> float:
        weight = of.layers[0].input_layernorm.weight.detach().abs()
        return float(weight.max() / weight.median())

    assert spread(made) < spread(model) / 3
    name = "layers.0.self_attn.q_proj"
    before, after = (measure_reaches(one, sample).matrices[name] for one in (model, made))
    assert after < before / 3
    assert spread(model) > 50  # the one that was given is left alone


def test_channel_and_weights_meet_half_way() -> None:
    found = meeting_point(torch.tensor([8.0, 0.0, 1.0]), torch.tensor([2.0, 5.0, 0.0]))
    # 8 / 2 = 4 = 2 · 2; what is silent on either side stays as it is
    assert found.tolist() == [2.0, 1.0, 1.0]
