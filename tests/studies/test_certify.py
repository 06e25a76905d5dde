import numpy as np
import pytest
import torch

from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.studies.certify import certify, margin_ratios


def decoder(seed: int) -> Decoder:
    torch.manual_seed(seed)
    shape = DecoderShape(items=9, width=8, heads=2, feed_forward=(8, 8), max_length=6)
    model = Decoder(shape).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


HISTORIES = [np.asarray(h, dtype=np.int32) for h in ([1], [2, 3, 4], [5, 1, 6, 2, 9, 8, 7, 3])]


def test_ratios_are_the_arithmetic_of_two_items() -> None:
    # The teacher's state scores the items 2 and 0.5; the student's lies 0.5 away.
    table = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    theirs, mine = torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0, 1.0]])
    ratio, pair_ratio, same = margin_ratios(theirs, mine, table)
    assert ratio.item() == pytest.approx(1.5 / (2 * 0.5 * 2))
    assert pair_ratio.item() == pytest.approx(1.5 / (0.5 * 5**0.5))
    assert same.tolist() == [True]


def test_nobody_is_certified_when_the_first_two_items_are_tied() -> None:
    table = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    state = torch.tensor([[1.0, 0.0]])
    ratio, pair_ratio, _ = margin_ratios(state, state, table)
    assert ratio.item() == pair_ratio.item() == 0


def test_a_certified_item_never_changes() -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(30, 4, generator=generator)
    theirs = torch.randn(4000, 4, generator=generator)
    mine = theirs + 0.2 * torch.randn(4000, 4, generator=generator)
    ratio, pair_ratio, same = margin_ratios(theirs, mine, table)
    assert (pair_ratio >= ratio * (1 - 1e-5)).all()
    for certified in (ratio > 1, pair_ratio > 1):
        assert 0 < certified.sum() < 4000
        assert same[certified].all()
    assert not same.all()


def test_everybody_is_certified_when_the_student_is_the_teacher() -> None:
    model = decoder(1)
    found = certify(model, model, 2, HISTORIES)
    assert np.isinf(found.ratio).all()
    assert np.isinf(found.pair_ratio).all()
    assert found.same_first.all()
    assert found.distance.shape == found.cosine.shape == (3, 2)
    assert found.distance.max() == 0
    assert found.cosine == pytest.approx(1)


def test_states_are_those_after_the_newest_item_that_is_read() -> None:
    teacher, student = decoder(1), decoder(2)
    found = certify(teacher, student, 2, HISTORIES)
    newest = torch.tensor([[1, 6, 2, 9, 8, 7, 3][-6:]])  # six are read
    places = torch.arange(6)[None]
    for block in range(2):
        theirs, mine = (
            model(newest, places, blocks=2)[block][0, -1].detach() for model in (teacher, student)
        )
        assert found.distance[2, block] == pytest.approx((theirs - mine).norm().item(), rel=1e-5)
        cosine = torch.cosine_similarity(theirs, mine, dim=0).item()
        assert found.cosine[2, block] == pytest.approx(cosine, abs=1e-5)
