from pathlib import Path

import numpy

from pipeline.doctor import examine


def finding(what: str, home: Path, root: Path | None = None):
    found = examine(home, root) if root else examine(home)
    return next(entry for entry in found if entry.what == what)


def test_missing_and_other_packages_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("numpy==0.1\n    # via x\nno-such-package==3\n")
    packages = finding("packages", tmp_path, tmp_path)
    assert not packages.good
    assert packages.needed
    assert f"numpy {numpy.__version__}, locked 0.1" in packages.found
    assert "no-such-package missing" in packages.found


def test_packages_are_good_when_they_are_as_locked(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text(f"numpy=={numpy.__version__}\n")
    assert finding("packages", tmp_path, tmp_path).good


def test_lock_is_asked_for_when_absent(tmp_path: Path) -> None:
    assert finding("packages", tmp_path, tmp_path).found == "no requirements.lock"


def test_home_that_does_not_exist_yet_is_judged_by_its_parent(tmp_path: Path) -> None:
    assert finding("home", tmp_path / "a" / "b").good


def test_this_environment_is_the_locked_one(tmp_path: Path) -> None:
    packages = finding("packages", tmp_path)
    assert packages.good, packages.found
