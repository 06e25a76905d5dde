"""What a person sees while steps run."""

import io

import pytest

from pipeline.console import RunDisplay
from pipeline.terminal import Terminal

NOTE = "loss 3.996 · NDCG@10 0.3159 · 7,242 tokens/s"


@pytest.mark.parametrize(("width", "told"), [(160, NOTE), (80, "loss 3.996 · NDCG@1"), (60, "…")])
def test_times_stay_whole_and_what_a_step_says_is_cut_when_the_terminal_is_narrow(
    width: int, told: str
) -> None:
    out = io.StringIO()
    console = Terminal(file=out, width=width, force_terminal=True, color_system=None)
    with RunDisplay(console, {"interactions": "sample:"}) as display:
        for step in ("train_teacher", "quantize_student[pruned-int8]"):
            display.on_event({"event": "started", "step": step})
            said = {"event": "progress", "step": step, "done": 3, "total": 10, "note": NOTE}
            display.on_event(said)
    last = [line for line in out.getvalue().split("\n") if "quantize_student" in line][-1]
    assert "0:00:00 -:--:-- " in last
    assert told in last
