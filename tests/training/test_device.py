import os

import pytest
import torch

from slmrec.errors import ConfigError
from slmrec.training.device import choose_device, deterministic


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Make torch believe in so many GPUs."""

    def pretend(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)

    return pretend


@pytest.mark.parametrize(
    ("wanted", "count", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
    ],
)
def test_device_is_the_configured_one_or_what_there_is(
    gpus, wanted: str, count: int, expected: str
) -> None:
    gpus(count)
    assert str(choose_device(wanted)) == expected


def test_cuda_is_refused_when_there_is_none(gpus) -> None:
    gpus(0)
    with pytest.raises(ConfigError, match=r"training\.device is 'cuda' and torch finds no CUDA"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match=r"cache_teacher\.device is 'cuda'"):
        choose_device("cuda", "cache_teacher.device")


def test_process_takes_the_gpu_of_its_number_when_several_train(
    gpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(2)
    monkeypatch.setattr("slmrec.training.device.in_group", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert str(choose_device("auto")) == "cuda:1"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="process 2 of this machine has no GPU of its own"):
        choose_device("auto")


def test_operations_are_deterministic_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
