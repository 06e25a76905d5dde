"""Row 9: a full disk, or one that may not be written, leaves the last good model serving."""

import contextlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from slmrec.errors import ArtifactError
from slmrec.models.servable import Servable
from slmrec.registry.store import Registry
from slmrec.registry.versions import MODEL
from tests.components.test_promote_model import Workshop
from tests.faults.conftest import Tell
from tests.faults.racers import racers
from tests.faults.small_disk import small_disk
from tests.faults.tiny import settings_file, start

POINTS = 20
NOBODY = 65534
CLOSED = ("registry", "registry/versions", "registry/origins", "registry/decisions", "outputs")
"""Folders that may not be written, one after another."""
MESSAGE = r"promote_model: /\S+: {}; {} and run the same command again, what was finished stays\n"


def try_to_promote(workshop: Workshop, models: list[str]) -> tuple[int, str]:
    """How the step ended, 0 or its exit code, and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            workshop.promote_again(models)
        except SystemExit as ended:
            return int(str(ended.code)), said.getvalue()
    return 0, said.getvalue()


def workshop_with_production(folder: Path, registry: Path) -> tuple[Workshop, list[str]]:
    """A registry in which version 1 serves, and a better model with its evaluation."""
    workshop = Workshop(folder, registry)
    workshop.promote(names=("int8",))
    return workshop, workshop.prepare(seed=2, ndcg=0.051, names=("int8",))


def check_last_good(registry: Registry) -> None:
    """Version 1 serves, whole, and all that is recorded can be read."""
    production = registry.production()
    assert production is not None
    assert production.number == 1
    assert registry.channels().served == (1,)
    registry.artifact(1, MODEL)
    registry.versions()
    registry.decisions()


def test_the_last_good_model_serves_when_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", megabytes=8) as disk:
        workshop, models = workshop_with_production(tmp_path, disk.path / "registry")
        first = disk.used()
        shutil.copytree(disk.path / "registry", tmp_path / "kept")
        assert try_to_promote(workshop, models)[0] == 0
        needed = disk.used() - first
        for point in range(POINTS):
            shutil.rmtree(disk.path / "registry")
            shutil.copytree(tmp_path / "kept", disk.path / "registry")
            disk.leave(needed * point // POINTS)
            code, said = try_to_promote(workshop, models)
            assert code == ArtifactError.exit_code, point
            assert re.fullmatch(
                MESSAGE.format("No space left on device", "make room there"), said
            ), said
            assert str(disk.path) in said
            check_last_good(workshop.registry)
            disk.empty()
            assert try_to_promote(workshop, models)[0] == 0, point
            numbers = [version.number for version in workshop.registry.versions()]
            assert numbers == [1, 2], point
            assert workshop.registry.production() == workshop.registry.version(2)


def promote_as_somebody_else(folder: str) -> list[tuple[str, int, str]]:
    """Promote where one folder after another is closed to this user, who is not root any more."""
    where = Path(folder)
    rehearsal = where / "rehearsal"
    rehearsal.mkdir()
    workshop, models = workshop_with_production(rehearsal, rehearsal / "registry")
    assert try_to_promote(workshop, models)[0] == 0  # all is imported while it can be read
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    found = []
    for number, closed in enumerate(CLOSED):
        place = where / f"{number}"
        (place / "outputs").mkdir(parents=True)
        workshop, models = workshop_with_production(place / "outputs", place / "registry")
        (place / closed).chmod(0o555)
        code, said = try_to_promote(workshop, models)
        found.append((closed, code, said))
        check_last_good(workshop.registry)
        (place / closed).chmod(0o755)
        assert try_to_promote(workshop, models)[0] == 0
        assert workshop.registry.production() == workshop.registry.version(2)
    return found


def test_the_last_good_model_serves_when_a_folder_may_not_be_written() -> None:
    folder = Path(tempfile.mkdtemp())  # others may not pass through pytest's own
    try:
        folder.chmod(0o777)
        with racers(1) as ready:
            (found,) = ready.race([(promote_as_somebody_else, (str(folder),))])
        assert not isinstance(found, Exception), found
        for closed, code, said in found:
            assert code == ArtifactError.exit_code, closed
            assert re.fullmatch(
                MESSAGE.format("Permission denied", "let this user read and write there"), said
            ), said
    finally:
        shutil.rmtree(folder)


@pytest.mark.faults
def test_the_last_good_model_serves_when_a_run_fills_the_disk(
    code: Path, undisturbed: Path, tmp_path: Path, tell: Tell
) -> None:
    needed = sum(
        path.stat().st_blocks * 512
        for path in undisturbed.rglob("*")
        if path.is_file() and "registry" not in path.parts
    )
    settings = settings_file(code, "build_sequences: {min_user_interactions: 4}\n")
    failed, last = 0, ""
    with small_disk(tmp_path / "small", megabytes=64 + needed // 2**20) as disk:
        home = disk.path / "home"
        shutil.copytree(undisturbed / "registry", home / "registry")
        for point in range(POINTS):
            disk.leave(needed * point // POINTS)
            process = start(code, home, "--force", "--config", str(settings))
            _, err = process.communicate(timeout=1800)
            production = Registry(home / "registry").production()
            assert production is not None
            model = Servable(Registry(home / "registry").artifact(production.number, MODEL))
            assert model.scores([[1, 2]]).shape[0] == 1
            if process.returncode == 0:
                break
            failed, last = failed + 1, err
            assert process.returncode == ArtifactError.exit_code, err[-3000:]
            assert production.number == 1
            assert len(re.findall("^error: ", err, re.MULTILINE)) == 1, err[-3000:]
            assert "Traceback" not in err, err[-3000:]
            assert re.search(r"No space left|make room", err), err[-3000:]
        disk.empty()
        process = start(code, home, "--force", "--config", str(settings))
        _, err = process.communicate(timeout=1800)
        assert process.returncode == 0, err[-3000:]
    tell(
        9,
        "disk full or permission denied at 20 points leaves the last good model serving",
        "pointer unchanged, clear message",
        f"promotion with {POINTS} amounts of room too small: pointer unchanged, one sentence that "
        f"names the place, well after room was made; {len(CLOSED)} folders closed to the user: the "
        f"same; a whole run with {POINTS} growing amounts of room: ended {failed} times with one "
        "sentence, the last model answering each time, and well once there was room",
    )
    assert failed, last
