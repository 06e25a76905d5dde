import torch

from slmrec.models.encoder import packed_mask, window_rows


def test_history_sees_itself_and_the_past_when_rows_are_packed() -> None:
    mask = packed_mask(torch.tensor([[1, 1, 2, 0]]))[0, 0]
    assert mask.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_attention_is_moved_to_the_places_of_its_own_history() -> None:
    # one row: histories of 2 and 3 items and padding; entry (row, column) is 10 · row + column + 1
    attention = (10 * torch.arange(6)[:, None] + torch.arange(6) + 1.0)[None]
    positions = torch.tensor([[0, 1, 0, 1, 2, 0]])
    real = torch.tensor([[True, True, True, True, True, False]])
    found = window_rows([attention, -attention], positions, real, 4)
    assert found.shape == (5, 2, 4)
    assert found[:, 0].tolist() == [
        [1, 0, 0, 0],
        [11, 12, 0, 0],
        [23, 0, 0, 0],
        [33, 34, 0, 0],
        [43, 44, 45, 0],
    ]
    assert torch.equal(found[:, 1], -found[:, 0])


def test_gradient_reaches_only_what_was_looked_at() -> None:
    attention = torch.ones(1, 3, 3, requires_grad=True)
    positions = torch.tensor([[0, 0, 1]])
    window_rows([attention], positions, torch.ones(1, 3, dtype=torch.bool), 5).sum().backward()
    assert attention.grad is not None
    assert attention.grad[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
