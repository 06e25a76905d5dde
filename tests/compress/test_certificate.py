"""The certificate of quantization against what really happens, and against each thing that moves."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slmrec.compress.certificate import Certificate
from slmrec.compress.export import write_graphs
from slmrec.compress.forward import SCORES, STATES, write_forward
from slmrec.compress.storage import Storage
from slmrec.config import Variant
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.encoder import right_padded
from slmrec.models.memory import CountedMemory
from slmrec.models.servable import graph_inputs, open_graph

ITEMS = 60
VARIANTS = [
    Variant(name="float32", weights="float32"),
    Variant(name="bfloat16", weights="bfloat16"),
    Variant(name="static"),
    Variant(name="dynamic", states="dynamic"),
    Variant(name="int4", weights="int4"),
    Variant(name="product", product_bytes=32),
]
by_variant = pytest.mark.parametrize("variant", VARIANTS, ids=[one.name for one in VARIANTS])


def make_student(items: int = ITEMS, memory: int = 4) -> Decoder:
    torch.manual_seed(11)
    shape = DecoderShape(
        items=items, width=32, heads=2, feed_forward=(32,), max_length=8, memory=memory
    )
    made = Decoder(shape).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    if made.memory is not None:
        neighbours = np.random.default_rng(1).integers(1, items + 1, size=(items + 1, memory))
        neighbours[0] = 0
        made.memory.neighbours.copy_(torch.from_numpy(neighbours))
        made.memory.weights.copy_(torch.rand(items + 1, memory) * (made.memory.neighbours > 0))
        made.memory.gain.fill_(0.5)
    return made


def histories(items: int = ITEMS, count: int = 300) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(1, items + 1, size=n).astype(np.int32) for n in rng.integers(1, 9, count)]


def certified_and_same(
    student: Decoder, sample: list[np.ndarray], variant: Variant, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    storage = Storage.of(student, variant, sample)
    write_graphs({"scores.onnx": write_forward(storage)}, folder)
    session = open_graph(folder / "scores.onnx", threads=1)
    scores, entering = session.run([SCORES, STATES], graph_inputs(sample, 8))
    items, last = right_padded(sample, 8)
    with torch.inference_mode():
        exact = student.catalogue_scores(items, last)
    certificate = Certificate(student, storage)
    certified = certificate.holds(items, last, exact, torch.from_numpy(entering))
    first = exact[:, 1:].argmax(dim=1).numpy()
    return certified.numpy(), scores[:, 1:].argmax(axis=1) == first


@by_variant
def test_who_is_certified_is_given_the_same_first_item(variant: Variant, tmp_path: Path) -> None:
    certified, same = certified_and_same(make_student(), histories(), variant, tmp_path)
    assert same[certified].all()
    assert certified.any()


@by_variant
def test_items_that_are_nearly_the_same_are_not_certified_by_chance(
    variant: Variant, tmp_path: Path
) -> None:
    student = make_student(items=400, memory=0)
    with torch.no_grad():  # the second half copies the first but for the last digits
        student.items.weight[201:] = student.items.weight[1:201] * (1 + 2.0**-22)
    certified, same = certified_and_same(student, histories(400), variant, tmp_path)
    assert same[certified].all()
    assert not same.all()


@dataclass
class Table:
    kept: np.ndarray

    def dense(self) -> np.ndarray:
        return self.kept

    def rounded(self, states: np.ndarray) -> np.ndarray:
        return states


@dataclass
class Planted:
    """A storage in which one thing at a time is not what the student has."""

    items: Table
    remembered: CountedMemory

    class model:
        norm = nn.Identity()

    def memory(self) -> CountedMemory:
        return self.remembered


class Case:
    """One history, the first item after it, the second, and the lead between them."""

    def __init__(self) -> None:
        self.student = make_student()
        self.asked = right_padded([np.array([3, 14, 15, 9], dtype=np.int32)], 8)
        with torch.no_grad():
            self.state = self.student.last_states(*self.asked)[0]
            self.scores = self.student.catalogue_scores(*self.asked)
        best = self.scores[0, 1:].topk(2)
        self.first, self.second = (1 + best.indices).tolist()
        self.lead = float(best.values[0] - best.values[1])
        self.table = self.student.items.weight.detach().clone()

    def certified(
        self,
        table: Tensor | None = None,
        state: Tensor | None = None,
        memory: CountedMemory | None = None,
    ) -> bool:
        kept = self.table if table is None else table
        planted = Planted(Table(kept.numpy()), memory or self.student.memory)
        entering = (self.state if state is None else state)[None]
        certificate = Certificate(self.student, planted)
        return bool(certificate.holds(*self.asked, self.scores, entering)[0])


# A move of half the lead leaves the order as it is, one of twice the lead turns it around. The state is
# bounded by lengths, so it is the direction of the two items alone that is moved here.
@pytest.mark.parametrize(("share", "certain"), [(0.0, True), (0.5, True), (2.0, False)])
def test_each_move_counts(share: float, certain: bool) -> None:
    case = Case()
    moved = share * case.lead

    table = case.table.clone()
    table[case.second] += case.state * moved / case.state.square().sum()
    assert case.certified(table=table) is certain

    memory = copy.deepcopy(case.student.memory)
    memory.popular[case.second] += moved
    assert case.certified(memory=memory) is certain

    apart = case.table[case.first] - case.table[case.second]
    state = case.state - apart * moved / apart.square().sum()
    others = case.table[case.first] - case.table[1:]
    leads = case.scores[0]
    leads = (leads[case.first] - leads[1:]).double()
    reach = (state - case.state).double().norm() * others.double().norm(dim=1)
    by_hand = bool((leads > reach)[torch.arange(1, ITEMS + 1) != case.first].all())
    assert case.certified(state=state) is by_hand
    if share > 1:
        assert not by_hand
    if share == 0:
        assert by_hand
