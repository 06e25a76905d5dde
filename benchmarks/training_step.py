"""How long a training step of an 8-layer decoder takes, by width and number type, alone or not.

    .venv/bin/python benchmarks/training_step.py

Shows where bfloat16 pays (`slmrec.training.precision.BFLOAT16_WIDTH`) and why the local run shortens
OpenMP's spinning (`pipeline.local`). Run it with nothing else on the machine; quote ratios.
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
    """Print both tables."""
    if sys.argv[1:] == ["one"]:
        print(step_milliseconds(64, low_precision=False))
        return
    print("width  float32 ms  bfloat16 ms")
    for width in (64, 128, 256):
        full, low = (step_milliseconds(width, low) for low in (False, True))
        print(f"{width:5d}  {full:10.0f}  {low:11.0f}")
    print("spinning      alone ms  two at once ms")
    for name, spin in SPINNING.items():
        print(f"{name:12s}  {at_once(1, spin):8.0f}  {at_once(2, spin):14.0f}")


if __name__ == "__main__":
    main()
