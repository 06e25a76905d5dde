import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError

from slmrec.training import checkpoints as checkpoint_module
from slmrec.training.checkpoints import TENSORS
from slmrec.training.loop import TrainingResult
from tests.training.small_training import Stopped, Watched, small_training

Trained = tuple[dict[str, torch.Tensor], TrainingResult]
JOB = Path(__file__).with_name("small_training.py")
STEPS = 5
"""In an epoch of `small_training`."""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every epoch."""
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def stopped(often: None, tmp_path: Path) -> Callable[..., Path]:
    """Stop a training in the middle of its fourth epoch; gives its checkpoint directory."""

    def stop(**settings) -> Path:
        place = tmp_path / "checkpoints"
        with pytest.raises(Stopped):
            small_training(checkpoints=str(place), stop_at=3 * STEPS + 2, **settings)
        return place

    return stop


def same(one: Trained, other: Trained) -> None:
    assert json.dumps(one[1].to_json()) == json.dumps(other[1].to_json())
    assert one[0].keys() == other[0].keys()
    for name, tensor in one[0].items():
        assert torch.equal(tensor, other[0][name]), name


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_resumed_training_ends_bit_for_bit_as_one_that_was_not_stopped(stopped, loss: str) -> None:
    place = stopped(loss=loss)
    assert [path.name for path in place.iterdir()] == ["epoch-000003"]
    watched = Watched()
    resumed = small_training(checkpoints=str(place), progress=watched, loss=loss)
    assert watched.said[0] == f"going on after epoch 3 from {place / 'epoch-000003'}"
    same(resumed, small_training(loss=loss))
    assert not place.exists()


def test_killed_training_ends_as_one_that_was_not_killed(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    settings = f'{{"checkpoints": "{place}", "epochs": 30}}'
    process = subprocess.Popen(
        [sys.executable, str(JOB), str(tmp_path), settings], stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) > 2 * STEPS:
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    watched = Watched()
    resumed = small_training(checkpoints=str(place), progress=watched, epochs=30)
    assert watched.said[0].startswith("going on after epoch ")
    same(resumed, small_training(epochs=30))


def test_training_starts_anew_when_its_checkpoint_is_damaged(stopped) -> None:
    place = stopped()
    damaged = place / "epoch-000003" / TENSORS
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(bytes(data))
    watched = Watched()
    again = small_training(checkpoints=str(place), progress=watched)
    assert len(watched.said) == 1
    assert watched.said[0].startswith(f"checkpoint not used: {damaged}: SHA-256")
    same(again, small_training())


def test_older_checkpoint_is_used_when_the_newest_is_half_written(stopped) -> None:
    place = stopped()
    newest = place / "epoch-000004"
    newest.mkdir()
    (newest / TENSORS).write_bytes(b"half")
    watched = Watched()
    resumed = small_training(checkpoints=str(place), progress=watched)
    assert "so the artifact was never finished" in watched.said[0]
    assert watched.said[1].startswith("going on after epoch 3")
    same(resumed, small_training())


@pytest.mark.parametrize("gone", [TENSORS, "state.json"])
def test_training_starts_anew_when_another_run_removes_its_checkpoint(
    stopped, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    place = stopped()
    opened = checkpoint_module.open_artifact

    def open_and_lose(*arguments):
        found = opened(*arguments)
        (found.path / gone).unlink()
        return found

    monkeypatch.setattr(checkpoint_module, "open_artifact", open_and_lose)
    watched = Watched()
    same(small_training(checkpoints=str(place), progress=watched), small_training())
    assert watched.said[0].startswith("checkpoint not used: ")


@pytest.mark.parametrize(
    "other", [{"epochs": 6}, {"users": 40}, {"loss": "gbce"}, {"depends_on": "another cache"}]
)
def test_checkpoint_of_another_training_is_not_used(stopped, other: dict) -> None:
    place = stopped()
    watched = Watched()
    again = small_training(checkpoints=str(place), progress=watched, **other)
    assert watched.said[0] == (
        f"checkpoint not used: {place / 'epoch-000003'} belongs to a training with other settings "
        "or data"
    )
    assert not any("going on" in said for said in watched.said)
    same(again, small_training(**other))


def test_checkpoint_of_other_initial_weights_is_not_used(
    stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = stopped()
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda number: seed(number + 100))
    watched = Watched()
    small_training(checkpoints=str(place), progress=watched)
    assert "belongs to a training with other settings or data" in watched.said[0]


def test_first_epoch_is_kept_and_later_ones_only_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([100.0, 110.0, 125.0, 130.0])  # at the end of epochs 1 … 4
    monkeypatch.setattr(checkpoint_module, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    written: list[str] = []
    publish = checkpoint_module.publish

    def note(place: Path, *rest, **more):
        written.append(place.name)
        return publish(place, *rest, **more)

    monkeypatch.setattr(checkpoint_module, "publish", note)
    small_training(checkpoints=str(tmp_path / "checkpoints"))
    assert written == ["epoch-000001", "epoch-000003"]


@pytest.mark.parametrize("error", [OSError(28, "No space left"), SafetensorError("No space left")])
def test_training_goes_on_when_the_disk_takes_no_checkpoint(
    often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    watched = Watched()
    trained = small_training(checkpoints=str(tmp_path / "c"), progress=watched)
    assert len(watched.said) == 4
    assert "the training goes on without it" in watched.said[0]
    same(trained, small_training())


def test_what_a_killed_writer_left_is_cleared_away(often: None, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    left = place / ".epoch-000009.partial-1"
    left.mkdir(parents=True)
    with pytest.raises(Stopped):
        small_training(checkpoints=str(place), stop_at=STEPS + 1)
    assert [path.name for path in place.iterdir()] == ["epoch-000001"]


def test_nothing_is_written_without_a_directory(
    often: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small_training()
    assert os.listdir() == []
