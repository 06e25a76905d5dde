import torch

from slmrec.models.item_tables import fit_width


def test_wider_table_keeps_every_dot_product() -> None:
    table = torch.randn(7, 4)
    wide = fit_width(table, 9, seed=0)
    assert wide.shape == (7, 9)
    torch.testing.assert_close(wide @ wide.T, table @ table.T, atol=1e-5, rtol=1e-5)


def test_narrower_table_keeps_dot_products_when_it_has_no_more_directions_than_that() -> None:
    table = torch.randn(7, 2) @ torch.randn(2, 6)
    narrow = fit_width(table, 2, seed=0)
    torch.testing.assert_close(narrow @ narrow.T, table @ table.T, atol=1e-4, rtol=1e-4)


def test_a_narrower_table_has_its_width_when_there_are_fewer_items_than_that() -> None:
    table = torch.randn(3, 8)
    narrow = fit_width(table, 5, seed=0)
    assert narrow.shape == (3, 5)
    torch.testing.assert_close(narrow @ narrow.T, table @ table.T, atol=1e-5, rtol=1e-5)
