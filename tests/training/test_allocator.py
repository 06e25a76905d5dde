import subprocess
import sys

import pytest

COUNTED = """
import resource, sys, torch
from slmrec.training.allocator import keep_freed_memory
from slmrec.training.losses import linear_cross_entropy
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
states = torch.randn(256, 16, requires_grad=True)
table = torch.randn(12_000, 16, requires_grad=True)
targets = torch.randint(1, 12_000, (256,))
def step():
    states.grad = table.grad = None
    linear_cross_entropy(states, table, targets, dtype=torch.float32).backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = [step() for _ in range(16)]
asked = [after - before for before, after in zip(counts[::5], counts[5::5])]
print(min(asked), max(asked))
"""


def mapped_again(how: str) -> tuple[int, int]:
    """Pages that five steps ask for, the fewest and the most: a system may take pages by itself."""
    ended = subprocess.run([sys.executable, "-c", COUNTED, how], capture_output=True, text=True)
    if ended.returncode == 3:
        pytest.skip("this C library has no mallopt")
    fewest, most = ended.stdout.split()
    return int(fewest), int(most)


def test_steps_ask_for_no_new_pages_when_freed_memory_is_kept() -> None:
    _, given_back = mapped_again("given back")
    assert given_back > 1000
    fewest, _ = mapped_again("kept")
    assert fewest < given_back / 20
