"""Histories packed into one row are trained as if each had a row of its own, and padding is nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import SequenceEncoder, right_padded
from slmrec.models.sasrec import SASRec, SASRecShape
from slmrec.training.batches import Batch, Packing, pack, packed_batches, training_windows
from slmrec.training.pretrain import next_item_loss

HISTORIES = [[1, 5, 9, 2, 7, 3, 8], [4, 4, 6, 1, 2], [11, 12, 3, 9], [8, 10, 5, 5, 2, 1]]


@pytest.fixture
def sequences(make_sequences) -> Sequences:
    return make_sequences(HISTORIES)  # the last two of each are held out


@pytest.fixture(params=["decoder", "sasrec"])
def model(request: pytest.FixtureRequest) -> SequenceEncoder:
    torch.manual_seed(3)
    made: SequenceEncoder
    if request.param == "decoder":
        made = Decoder(DecoderShape(items=12, width=8, heads=2, feed_forward=(8, 8), max_length=8))
    else:
        made = SASRec(SASRecShape(items=12, width=8, layers=2, heads=2, max_length=8))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


def batch_of(sequences: Sequences, packing: Packing) -> Batch:
    windows = training_windows(sequences, 8)
    (batch,) = packed_batches(sequences, windows, packing, 10**6)
    return batch


def packed(sequences: Sequences) -> Batch:
    windows = training_windows(sequences, 8)
    return batch_of(sequences, pack(windows.length, 8, np.random.default_rng(0)))


def one_window_a_row(sequences: Sequences) -> Batch:
    count = len(training_windows(sequences, 8).length)
    rows = np.arange(count)
    packing = pack(training_windows(sequences, 8).length, 8, np.random.default_rng(0))
    alone = replace(packing, window=rows, row=rows, offset=np.zeros(count, np.int64), rows=count)
    return batch_of(sequences, alone)


def loss_and_gradients(
    model: SequenceEncoder, batch: Batch
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = next_item_loss(model, batch, torch.float32, 64)["ce"]
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters()}


def test_loss_and_gradients_are_those_of_a_row_for_each_history(
    model: SequenceEncoder, sequences: Sequences
) -> None:
    together, alone = packed(sequences), one_window_a_row(sequences)
    assert len(together.items) < len(alone.items) == 4
    loss, gradients = loss_and_gradients(model, together)
    expected_loss, expected = loss_and_gradients(model, alone)
    torch.testing.assert_close(loss, expected_loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4)


def test_nothing_changes_when_padding_holds_other_items(
    model: SequenceEncoder, sequences: Sequences
) -> None:
    batch = one_window_a_row(sequences)
    padding = batch.targets == 0
    assert padding.any()
    filled = replace(batch, items=torch.where(padding, 7, batch.items))
    loss, gradients = loss_and_gradients(model, batch)
    other_loss, others = loss_and_gradients(model, filled)
    assert torch.equal(loss, other_loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], atol=1e-7, rtol=1e-6)


def test_newest_states_do_not_hang_on_what_stands_behind_or_beside_them(
    model: SequenceEncoder,
) -> None:
    histories = [np.asarray(h, np.int32) for h in ([3, 9], [1, 2, 3, 4, 5, 6, 7, 8], [5])]
    items, last = right_padded(histories, 8)
    with torch.inference_mode():
        together = model.last_states(items, last)
        behind = torch.arange(8) > last[:, None]
        filled = model.last_states(torch.where(behind, 11, items), last)
        alone = [model.last_states(*right_padded([history], 8)) for history in histories]
    torch.testing.assert_close(together, filled)
    torch.testing.assert_close(together, torch.cat(alone))
