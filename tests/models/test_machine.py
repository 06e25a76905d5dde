import contextlib
import os
import subprocess
import sys
import threading

import pytest
import torch

from slmrec.models.machine import (
    Machine,
    describe,
    int8_instructions,
    pinned,
    processor_fields,
    saturating_products,
    this_machine,
    torch_threads,
    usable_threads,
)

CPUINFO = """processor\t: 0
model name\t: Some Processor
flags\t\t: fpu avx2 avx512f avx512_vnni

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""


def test_fields_are_those_of_the_first_processor() -> None:
    fields = processor_fields(CPUINFO)
    assert fields["model name"] == "Some Processor"
    assert int8_instructions(fields["flags"].split()) == "AVX-512 VNNI"
    assert processor_fields("") == {}


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["avx512_vnni", "amx_int8"], "AMX"),
        (["avx_vnni", "avx2"], "AVX VNNI"),
        (["asimd", "asimddp"], "NEON dot product"),
        (["avx2"], ""),
    ],
)
def test_the_fastest_instructions_count(flags: list[str], found: str) -> None:
    assert int8_instructions(flags) == found


def test_threads_are_those_that_the_process_may_use() -> None:
    one = next(iter(os.sched_getaffinity(0)))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}})\n"
        "from slmrec.models.machine import usable_threads\n"
        "print(usable_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert usable_threads() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("machine", "instructions", "found"),
    [("x86_64", "", True), ("x86_64", "AVX VNNI", False), ("aarch64", "", False)],
)
def test_only_x86_without_its_instructions_sums_in_16_bits(
    monkeypatch: pytest.MonkeyPatch, machine: str, instructions: str, found: bool
) -> None:
    here = Machine(processor="P", threads=1, int8_instructions=instructions, onnxruntime="1")
    monkeypatch.setattr("slmrec.models.machine.this_machine", lambda: here)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert saturating_products() is found


def test_what_was_found_is_said_with_what_it_means() -> None:
    plain = Machine(processor="Old", threads=4, int8_instructions="", onnxruntime="1.2.3")
    assert describe(plain) == (
        "Old, 4 threads; ONNX Runtime 1.2.3, int8 products by plain instructions, which may be "
        "slower than float32"
    )
    assert f"{usable_threads()} threads" in describe(this_machine())


def places() -> dict[int, set[int]]:
    """Where each thread of this process may run."""
    found = {}
    for name in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # threads of earlier tests come to their end
            found[int(name)] = os.sched_getaffinity(int(name))
    return found


def as_before(before: dict[int, set[int]]) -> bool:
    """Whether every thread that was there, and still is, may run where it could."""
    after = places()
    return all(after[thread] == before[thread] for thread in before.keys() & after.keys())


def test_threads_old_and_new_stay_where_they_are_pinned() -> None:
    before, torch_threads = places(), torch.get_num_threads()
    go, seen = threading.Event(), []

    def look() -> None:
        go.wait()
        seen.append(os.sched_getaffinity(0))

    old = threading.Thread(target=look)
    old.start()
    first = {min(os.sched_getaffinity(0))}
    with pinned(1):
        assert all(found == first for found in places().values())
        assert torch.get_num_threads() == 1
        new = threading.Thread(target=look)
        new.start()
        go.set()
        old.join()
        new.join()
    assert seen == [first, first]
    assert as_before(before)
    assert torch.get_num_threads() == torch_threads


def test_everything_is_as_before_when_the_work_fails() -> None:
    before, torch_threads = places(), torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), pinned(1):
        _ = 1 / 0
    assert as_before(before)
    assert torch.get_num_threads() == torch_threads


def test_torch_is_not_imported_for_pinning() -> None:
    code = (
        "import os, sys\n"
        "from slmrec.models.machine import pinned\n"
        "with pinned(1): print(len(os.sched_getaffinity(0)), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_only_torch_is_set_where_the_system_moves_no_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    torch_threads = torch.get_num_threads()
    with pinned(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == torch_threads


def test_torch_has_its_threads_back_when_a_block_ends_by_an_error() -> None:
    usual, other = torch.get_num_threads(), torch.get_num_threads() + 1
    with contextlib.suppress(KeyError), torch_threads(other):
        assert torch.get_num_threads() == other
        raise KeyError
    assert torch.get_num_threads() == usual
