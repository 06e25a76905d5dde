from pathlib import Path

import pytest
import torch

from slmrec.config import Training
from slmrec.training.precision import choose_precision, processor_has_bfloat16


def test_precision_is_read_from_the_processor_and_not_timed(tmp_path: Path) -> None:
    modern, old = tmp_path / "modern", tmp_path / "old"
    modern.write_text("model name : x\nflags\t\t: fpu avx2 avx512_bf16\n")
    old.write_text("flags\t\t: fpu avx2\n")
    assert processor_has_bfloat16(modern)
    assert not processor_has_bfloat16(old)
    assert not processor_has_bfloat16(tmp_path / "absent")
    assert str(choose_precision(Training(precision="bfloat16"), 64)) == "bfloat16"
    assert str(choose_precision(Training(precision="float32"), 512)) == "float32"


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_precision_is_read_from_the_gpu_when_the_training_runs_there(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert str(choose_precision(Training(), 64, "cuda")) == expected
    assert str(choose_precision(Training(precision="float32"), 64, "cuda")) == "float32"
