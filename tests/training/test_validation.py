import numpy as np
import pytest
import torch

from slmrec.errors import SlmrecError
from slmrec.training.validation import validate


class Fixed(torch.nn.Module):
    """Gives every history the same scores."""

    max_length = 8

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = torch.tensor([scores])

    def catalogue_scores(self, items: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return self.scores.repeat(len(items), 1)


def test_validation_counts_the_rank_of_the_target_among_unseen_items(make_sequences) -> None:
    # target 3 scores 3; unseen above it: 4 (1 and 2 were seen, 0 is padding) → rank 2
    sequences = make_sequences([[1, 2, 3, 4]])
    users, targets = sequences.targets("validation")
    found = validate(Fixed([99.0, 9.0, 8.0, 3.0, 5.0]), sequences, users, targets)
    assert found == pytest.approx(1 / np.log2(3))


def test_validation_gives_no_credit_when_all_items_score_alike(make_sequences) -> None:
    sequences = make_sequences([[1, 2, 12, 13]])
    users, targets = sequences.targets("validation")
    # of the equal scores items 3 … 11 stand before item 12: rank 10
    assert validate(Fixed([0.0] * 14), sequences, users, targets) == pytest.approx(1 / np.log2(11))


def test_validation_is_refused_when_scores_are_not_finite(make_sequences) -> None:
    sequences = make_sequences([[1, 2, 3, 4]])
    users, targets = sequences.targets("validation")
    with pytest.raises(SlmrecError, match="not finite"):
        validate(Fixed([0.0, 1.0, float("nan"), 1.0, 1.0]), sequences, users, targets)
