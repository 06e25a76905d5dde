"""What a user sees when something is wrong: one message, the right exit code, nothing half-written."""

from pathlib import Path

import pytest

from slmrec.artifacts import MANIFEST, open_artifact
from tests.faults.small_disk import small_disk

GOOD = "user,item,timestamp\n" + "".join(
    f"u{user},i{(user + step) % 15},{1_600_000_000 + 1000 * step + user}\n"
    for user in range(60)
    for step in range(9)
)


def whole_artifacts(home: Path) -> list[str]:
    return sorted(path.parent.name for path in home.rglob(MANIFEST))


def one_message(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return text[text.index("error: ") :]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--interactions", "absent.csv"], ["absent.csv", "no such file"]),
        (["--items", "absent.csv"], ["absent.csv", "no such file"]),
        (["--set", "train_teacher.layres=2"], ["train_teacher.layres", "'layers'"]),
        (["--set", "train_teacher.layers=deep"], ["train_teacher.layers", "found 'deep'"]),
        (["--config", "absent.yaml"], ["absent.yaml", "no such configuration file"]),
        (["--format", "excel"], ["ingest_interactions.format", "'csv'"]),
        (["--interactions", "sample:users=-3"], ["users"]),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_starts(
    command_here, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    finished = command_here("run", "--home", str(tmp_path / "home"), *arguments)
    assert finished.code == 2
    message = one_message(finished.err)
    for word in words:
        assert word in message
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name,price\nx,1\n", ["log.csv", "name", "ingest_interactions.columns"]),
        ("user,item,timestamp\nu1,i1,1600000000\n", ["validate_data", "users failed: found 1"]),
    ],
)
def test_bad_data_end_with_3_and_leave_the_registry_alone(
    command, tiny, tmp_path: Path, content: str, words: list[str]
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(content)
    home = tmp_path / "home"
    finished = command("run", "--interactions", str(log), "--home", str(home), *tiny)
    assert finished.code == 3, finished.out + finished.err
    message = one_message(finished.err)
    for word in words:
        assert word in message
    assert not (home / "registry" / "channels").exists()
    assert not list(home.rglob(".*.partial-*"))


def test_full_disk_ends_with_4_and_leaves_no_artifact_that_looks_whole(
    command, tiny, tmp_path: Path
) -> None:
    log = tmp_path / "log.csv"
    log.write_text(GOOD)
    with small_disk(tmp_path / "small", megabytes=1) as disk:
        disk.leave(400 * 1024)
        home = disk.path / "home"
        finished = command("run", "--interactions", str(log), "--home", str(home), *tiny)
        assert finished.code == 4, finished.out + finished.err
        message = one_message(finished.err)
        assert "No space left on device" in message
        for manifest in home.rglob(MANIFEST):
            open_artifact(manifest.parent)  # every artifact that looks whole is whole
        assert not (home / "registry" / "channels").exists()
