import torch

from slmrec.models.encoder import packed_mask
from slmrec.models.sasrec import SASRec, SASRecShape


def random_sasrec() -> SASRec:
    torch.manual_seed(2)
    model = SASRec(SASRecShape(items=20, width=16, layers=2, heads=2, max_length=8)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_state_does_not_change_when_future_items_change() -> None:
    model = random_sasrec()
    positions = torch.arange(5).expand(1, 5)
    with torch.inference_mode():
        one = model(torch.tensor([[3, 7, 1, 20, 5]]), positions)[-1]
        two = model(torch.tensor([[3, 7, 1, 9, 8]]), positions)[-1]
    assert torch.equal(one[:, :3], two[:, :3])
    assert not torch.allclose(one[:, 3:], two[:, 3:])


def test_state_does_not_change_when_neighbours_in_the_row_change() -> None:
    model = random_sasrec()
    positions = torch.tensor([[0, 1, 2, 0, 1, 0]])
    mask = packed_mask(torch.tensor([[1, 1, 1, 2, 2, 0]]))
    with torch.inference_mode():
        one = model(torch.tensor([[3, 7, 1, 20, 5, 0]]), positions, mask)[-1]
        two = model(torch.tensor([[9, 2, 4, 20, 5, 0]]), positions, mask)[-1]
    torch.testing.assert_close(one[:, 3:5], two[:, 3:5])


def test_state_depends_on_order() -> None:
    model = random_sasrec()
    positions = torch.arange(3).expand(1, 3)
    with torch.inference_mode():
        one = model(torch.tensor([[3, 7, 1]]), positions)[-1][:, -1]
        two = model(torch.tensor([[7, 3, 1]]), positions)[-1][:, -1]
    assert not torch.allclose(one, two, atol=1e-3)


def test_backbone_leaves_out_item_and_position_tables() -> None:
    model = random_sasrec()
    tables = 21 * 16 + 8 * 16
    assert model.parameters_total() - model.parameters_backbone() == tables


def test_items_are_larger_than_positions_when_both_start_alike() -> None:
    torch.manual_seed(0)
    model = SASRec(SASRecShape(items=200, width=64, layers=1, heads=2, max_length=8)).eval()
    entered: list[torch.Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    with torch.inference_mode():
        # The same item at two places differs by its place, another item at the same place by more.
        model(torch.tensor([[5, 5, 9]]), torch.tensor([[0, 1, 1]]))
    same_item, same_place, other = entered[0][0]
    by_place, by_item = (same_item - same_place).norm(), (same_place - other).norm()
    assert 6 < by_item / by_place < 11  # √64 = 8
