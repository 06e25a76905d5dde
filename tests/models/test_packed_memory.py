"""The memory as it is served, beside the torch module that it is packed from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from slmrec.compress.forward import pack
from slmrec.compress.integers import quantize_roots
from slmrec.errors import ArtifactError
from slmrec.models.memory import CountedMemory
from slmrec.models.packed_memory import PackedMemory

ITEMS = 30


@pytest.fixture
def memory() -> CountedMemory:
    """Items have 0 to 4 transitions, some to the same item."""
    rng = np.random.default_rng(5)
    made = CountedMemory(ITEMS, 4)
    held = np.arange(4) < np.arange(ITEMS + 1)[:, None] % 5
    made.neighbours.copy_(torch.from_numpy(held * rng.integers(1, ITEMS + 1, (ITEMS + 1, 4))))
    made.weights.copy_(torch.from_numpy(held * rng.random((ITEMS + 1, 4))))
    made.gain.fill_(0.7)
    return made


def added(packed: PackedMemory, histories: list[list[int]]) -> np.ndarray:
    scores = np.zeros((len(histories), ITEMS + 1), dtype=np.float32)
    starts = np.cumsum([0, *map(len, histories)])
    packed.add(scores, np.concatenate(histories).astype(np.int32), starts)
    return scores


def evidence(memory: CountedMemory, history: list[int]) -> np.ndarray:
    items = torch.tensor([history or [0]])
    last = torch.tensor([max(len(history) - 1, 0)])
    return (memory.gain * memory.evidence(items, last))[0].numpy()


HISTORIES = [[4, 9, 14], [], [3], [5], [4, 4, 4], [29, 28, 27, 26, 24, 23, 22, 21]]


def test_it_adds_what_the_module_adds(memory: CountedMemory) -> None:
    found = added(pack(memory, max_length=8, in_bytes=False), HISTORIES)
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(found[row], evidence(memory, history), rtol=1e-5)
    assert not found[1].any()  # nothing is known of an empty history
    assert not found[3].any()  # the item 5 leads nowhere
    assert found[0].any()


def test_bytes_add_what_they_stand_for(memory: CountedMemory) -> None:
    found = added(pack(memory, max_length=8, in_bytes=True), HISTORIES)
    memory.weights.copy_(torch.from_numpy(quantize_roots(memory.weights.numpy()).values()))
    for row, history in enumerate(HISTORIES):
        np.testing.assert_allclose(found[row], evidence(memory, history), rtol=1e-5)


def test_it_looks_up_no_more_items_than_the_model_reads(memory: CountedMemory) -> None:
    history = [29, 28, 27, 26, 24, 23, 22, 21]
    (found,) = added(pack(memory, max_length=3, in_bytes=False), [history])
    np.testing.assert_allclose(found, evidence(memory, history[-3:]), rtol=1e-5)
    assert not np.allclose(found, evidence(memory, history))


def test_calls_leave_nothing_behind_for_the_next(memory: CountedMemory) -> None:
    packed = pack(memory, max_length=8, in_bytes=False)
    first = added(packed, HISTORIES)
    assert np.array_equal(added(packed, HISTORIES), first)


def test_it_is_read_as_it_was_written(memory: CountedMemory, tmp_path: Path) -> None:
    for in_bytes in (False, True):
        packed = pack(memory, max_length=8, in_bytes=in_bytes)
        save_file(packed.named() | {"matrix.1": np.ones(3)}, tmp_path / "w")
        again = PackedMemory.read(tmp_path / "w", ITEMS)
        assert again is not None
        assert np.array_equal(added(again, HISTORIES), added(packed, HISTORIES))


def test_there_is_none_where_the_weights_have_none(tmp_path: Path) -> None:
    save_file({"matrix.1": np.ones(3)}, tmp_path / "w")
    assert PackedMemory.read(tmp_path / "w", ITEMS) is None


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("neighbours", lambda a: np.full_like(a, 31), "an item 31 in a catalogue of 30"),
        ("sizes", lambda a: a + 200, "transitions up to"),
        ("starts", lambda a: a.astype(np.uint64) + np.uint64(2**63), "transitions up to 9223372"),
        ("starts", lambda a: a.astype(np.int64) - 9, "'starts' are int64, expected unsigned"),
        ("starts", lambda a: a[1:], r"'starts' has shape \(30,\), expected \(31,\)"),
        ("weights", lambda a: a[1:], "'neighbours' has shape"),
        ("weights", lambda a: a.astype(np.float64), "'weights' are float64, expected float32"),
        ("decay", lambda a: a[:, 0], r"'decay' has shape \(5,\), expected \(5, 1\)"),
        ("decay", lambda a: np.asarray(a[0, 0]), r"'decay' has shape \(\), expected \(1, 1\)"),
        ("decay", lambda a: np.ones((101, 1), np.float32), r"\(101, 1\), expected \(100, 1\)"),
        ("gain", lambda a: a.astype(np.float64), "'gain' are float64"),
    ],
)
def test_tables_are_refused_when_they_lead_astray(
    memory: CountedMemory, tmp_path: Path, name: str, changed: object, said: str
) -> None:
    tables = pack(memory, max_length=8, in_bytes=False).named()
    tables[f"memory.{name}"] = changed(tables[f"memory.{name}"])
    save_file(tables, tmp_path / "w")
    with pytest.raises(ArtifactError, match=said):
        PackedMemory.read(tmp_path / "w", ITEMS)


def test_a_table_that_is_not_there_is_named(memory: CountedMemory, tmp_path: Path) -> None:
    tables = pack(memory, max_length=8, in_bytes=False).named()
    del tables["memory.decay"]
    save_file(tables, tmp_path / "w")
    with pytest.raises(ArtifactError, match="no 'decay'"):
        PackedMemory.read(tmp_path / "w", ITEMS)


def test_weights_are_refused_when_they_are_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"not a table")
    with pytest.raises(ArtifactError, match="cannot be read as safetensors"):
        PackedMemory.read(tmp_path / "w", ITEMS)
