"""How long parts of a training step take, by width and number type, alone or not.

    .venv/bin/python benchmarks/training_step.py

An 8-layer decoder, the cross-entropy over the catalogue by the size of its blocks
(`training.max_logit_mib`), and two processes at once. Shows where bfloat16 pays
(`slmrec.training.precision.BFLOAT16_WIDTH`) and why the local run shortens OpenMP's spinning
(`pipeline.local`). Run it with nothing else on the machine; quote ratios.
"""

import os
import statistics
import subprocess
import sys
import time

STEPS = 8
SPINNING = {"as it comes": None, "short": "1000"}


def step_milliseconds(width: int, low_precision: bool) -> float:
    """Median of forward and backward over 40 packed rows of 50 positions, softmax left out."""
    import torch

    from slmrec.models.decoder import Decoder, DecoderShape
    from slmrec.models.encoder import packed_mask

    torch.manual_seed(0)
    shape = DecoderShape(
        items=3000, width=width, heads=width // 32, feed_forward=(4 * width,) * 8, max_length=50
    )
    model = Decoder(shape, dropout=0.3, embedding_dropout=0.3).train()
    items = torch.randint(1, 3000, (40, 50))
    positions = torch.arange(50).expand(40, 50)
    mask = packed_mask(positions // 10 + 1)
    times = []
    for _ in range(STEPS + 1):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
            state = model(items, positions, mask)[-1]
        state.float().square().sum().backward()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[1:])


def loss_milliseconds(width: int, low_precision: bool, block_mib: int) -> tuple[float, float]:
    """Median of the cross-entropy of 2,048 positions and 12,000 items, forward and backward.

    And how far the gradient of the states is from float32's, as a share of it.
    """
    import torch

    from slmrec.training.losses import linear_cross_entropy

    torch.manual_seed(0)
    states = torch.randn(2048, width, requires_grad=True)
    table = (0.02 * torch.randn(12_000, width)).requires_grad_()
    targets = torch.randint(1, 12_000, (2048,))
    kinds = (torch.float32, torch.bfloat16 if low_precision else torch.float32)
    gradients, times = [], []
    for kind in (*kinds, *kinds[1:] * STEPS):
        states.grad = table.grad = None
        started = time.perf_counter()
        linear_cross_entropy(states, table, targets, block_mib, kind).backward()
        times.append(time.perf_counter() - started)
        gradients.append(states.grad)
    exact, found = gradients[:2]
    share = float((found - exact).norm() / exact.norm())
    return 1000 * statistics.median(times[2:]), share


def at_once(processes: int, spin: str | None) -> float:
    """Median over processes that step at the same time, width 64, float32."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spin:
        environment["GOMP_SPINCOUNT"] = spin
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "one"], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    return statistics.median(float(process.communicate()[0]) for process in started)


def main() -> None:
    """Print all tables."""
    if sys.argv[1:] == ["one"]:
        print(step_milliseconds(64, low_precision=False))
        return
    print("width  float32 ms  bfloat16 ms")
    for width in (64, 128, 256):
        full, low = (step_milliseconds(width, low) for low in (False, True))
        print(f"{width:5d}  {full:10.0f}  {low:11.0f}")
    print("width  number type  ms in blocks of 64, 16, 4 MiB  gradient off by")
    for width in (64, 128, 256):
        for low in (False, True):
            found = [loss_milliseconds(width, low, mib) for mib in (64, 16, 4)]
            spelled = "  ".join(f"{ms:5.0f}" for ms, _ in found)
            name = "bfloat16" if low else "float32"
            print(f"{width:5d}  {name:11s}  {spelled:29s}  {found[0][1]:.1e}")
    print("spinning      alone ms  two at once ms")
    for name, spin in SPINNING.items():
        print(f"{name:12s}  {at_once(1, spin):8.0f}  {at_once(2, spin):14.0f}")


if __name__ == "__main__":
    main()
