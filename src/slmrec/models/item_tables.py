"""Item embedding tables that a network starts from, in the width that it has."""

import torch
from torch import Tensor


def fit_width(table: Tensor, width: int, seed: int) -> Tensor:
    """An embedding table in another width: [rows, any] → [rows, width].

    Wider: a random orthonormal basis, which keeps every dot product. Narrower: the principal
    components, which keep as much of them as a narrower table can; zeros where there are fewer rows
    than components.
    """
    own = table.shape[1]
    if own == width:
        return table
    if own < width:
        generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(width, own, generator=generator))
        return table @ basis.T
    _, _, components = torch.linalg.svd(table, full_matrices=False)
    narrow = table @ components[:width].T
    return torch.nn.functional.pad(narrow, (0, width - narrow.shape[1]))
