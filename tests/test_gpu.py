"""What only a GPU can show. Where there is none, every test here says so and is skipped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slmrec.config import CacheTeacher, DistillStudent, LossWeights, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.distillation.cache_format import CachedTeacher
from slmrec.distillation.distill import distill
from slmrec.distillation.read_cache import TeacherCache
from slmrec.distillation.teachers import NetworkTeacher
from slmrec.distillation.write_cache import write_shard
from slmrec.progress import Silent
from slmrec.training import checkpoints as checkpoint_module
from slmrec.training.losses import linear_cross_entropy
from slmrec.training.pretrain import train_network
from tests.training.small_training import Stopped, Watched, small_training

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="torch finds no CUDA device on this machine"
)
JOB = Path(__file__).parent / "training" / "small_training.py"


def assert_same(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(weights) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name


def assert_told_alike(mine: CachedTeacher, theirs: CachedTeacher) -> None:
    """The same within a step of bfloat16; where two items are about as good either may come first."""
    torch.testing.assert_close(mine.states, theirs.states, rtol=2**-7, atol=1e-2)
    torch.testing.assert_close(mine.top_scores, theirs.top_scores, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(mine.tail, theirs.tail, rtol=1e-2, atol=1e-2)
    assert mine.attention is not None
    assert theirs.attention is not None
    torch.testing.assert_close(mine.attention, theirs.attention, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("loss", ["softmax", "gbce"])
def test_a_training_gives_the_same_weights_each_time(loss: str) -> None:
    weights, _ = small_training(device="cuda", loss=loss)
    again, _ = small_training(device="cuda", loss=loss)
    assert_same(weights, again)
    assert all(tensor.device.type == "cpu" for tensor in weights.values())


@pytest.mark.parametrize("loss", ["softmax", "gbce"])
def test_a_training_is_that_of_a_cpu_up_to_rounding(loss: str) -> None:
    _, on_gpu = small_training(device="cuda", loss=loss, dropout=0.0)
    _, on_cpu = small_training(device="cpu", loss=loss, dropout=0.0)
    assert len(on_gpu.history) == len(on_cpu.history)
    for mine, theirs in zip(on_gpu.history, on_cpu.history, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)


def test_a_training_multiplies_in_bfloat16_where_the_gpu_can() -> None:
    _, result = small_training(device="cuda", precision="auto", dropout=0.0)
    _, exact = small_training(device="cuda", dropout=0.0)
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    assert result.precision == ("bfloat16" if native else "float32")
    for mine, theirs in zip(result.history, exact.history, strict=True):
        assert mine["ce"] == pytest.approx(theirs["ce"], rel=0.02)


def test_a_stopped_training_goes_on_with_the_gpus_own_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_SECONDS", 0.0)
    place = str(tmp_path / "checkpoints")
    with pytest.raises(Stopped):
        small_training(device="cuda", checkpoints=place, progress=Watched(stop_at=17))
    listener = Watched()
    resumed, _ = small_training(device="cuda", checkpoints=place, progress=listener)
    undisturbed, _ = small_training(device="cuda")
    assert any("epoch 3" in said for said in listener.said)
    assert_same(resumed, undisturbed)


def test_a_process_of_a_group_trains_as_one_alone(tmp_path: Path) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    settings = {"device": "cuda", "dropout": 0.0}
    finished = subprocess.run(
        [sys.executable, *torchrun, str(JOB), str(tmp_path), json.dumps(settings)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert finished.returncode == 0, finished.stderr
    weights, _ = small_training(**settings)
    assert_same(load_file(tmp_path / "weights.safetensors"), weights)


def test_more_processes_than_gpus_are_told_so(tmp_path: Path) -> None:
    processes = torch.cuda.device_count() + 1
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    finished = subprocess.run(
        [sys.executable, *torchrun, str(JOB), str(tmp_path), json.dumps({"device": "cuda"})],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert finished.returncode != 0
    assert "has no GPU of its own" in finished.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_cross_entropy_has_the_gradients_of_the_plain_one(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    states = torch.randn(300, 64, device="cuda", requires_grad=True)
    table = (0.1 * torch.randn(5001, 64, device="cuda")).requires_grad_()
    targets = torch.randint(1, 5001, (300,), device="cuda")
    plain = torch.nn.functional.cross_entropy(states.double() @ table[1:].double().T, targets - 1)
    expected = torch.autograd.grad(plain, [states, table])
    fused = linear_cross_entropy(states, table, targets, max_logit_mib=1, dtype=dtype)
    found = torch.autograd.grad(fused, [states, table])
    assert fused.item() == pytest.approx(plain.item(), rel=1e-5 if dtype.itemsize == 4 else 2e-3)
    for mine, theirs in zip(found, expected, strict=True):
        away = (mine - theirs).norm() / theirs.norm()
        assert away < (1e-5 if dtype.itemsize == 4 else 1e-2)


def test_a_student_learns_from_a_cache_and_comes_back_to_the_cpu(
    tmp_path: Path, cycles: Sequences
) -> None:
    quick = Training(
        epochs=10,
        learning_rate=1e-2,
        batch_tokens=64,
        dropout=0.0,
        embedding_dropout=0.0,
        device="cuda",
    )
    shape = TrainTeacher(width=16, layers=4, heads=2, feed_forward=16, max_length=8, training=quick)
    teacher, _, _ = train_network(cycles, None, shape, Silent())
    settings = CacheTeacher(blocks=2, top_k=4, shards=1, attention=True)
    for name, device in (("gpu", torch.device("cuda")), ("cpu", torch.device("cpu"))):
        live = NetworkTeacher(teacher, device)
        write_shard(tmp_path / name, live, cycles, "0/1", settings, {}, Silent())
    cache, from_cpu = (TeacherCache([tmp_path / name], cycles) for name in ("gpu", "cpu"))
    rows = np.load(tmp_path / "cpu" / "positions.npy")[:100]
    assert_told_alike(cache.read(rows), from_cpu.read(rows))
    losses = LossWeights(cosine=1, norm=0.1, multi_supervision=0.1, logits=1, attention=1)
    config = DistillStudent(layers=2, losses=losses, training=quick)
    made = distill(teacher, cycles, cache, config, Silent())
    assert made.training.best_ndcg > 0.95
    assert set(made.training.history[0]) >= {"ce", "cosine", "norm", "logits", "attention"}
    states = made.student(torch.tensor([[1, 2, 3]]), torch.arange(3)[None])[-1]
    assert states.device.type == "cpu"
    assert np.isfinite(states.detach().numpy()).all()
