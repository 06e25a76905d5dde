import importlib.metadata
from pathlib import Path

import numpy
import psutil
import pytest

from pipeline.doctor import _memory, examine


def finding(what: str, home: Path, root: Path | None = None):
    found = examine(home, root) if root else examine(home)
    return next(entry for entry in found if entry.what == what)


def test_other_packages_than_locked_are_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("numpy==0.1\n    # via x\n")
    packages = finding("packages", tmp_path, tmp_path)
    assert not packages.good
    assert packages.needed
    assert packages.found == f"numpy {numpy.__version__}, locked 0.1"


@pytest.mark.parametrize("name", ["numpy", "threadpoolctl"])
def test_package_that_runs_need_is_named_when_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # slmrec needs numpy, and by way of evidently and scikit-learn threadpoolctl
    def version(_: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "version", version)
    (tmp_path / "requirements.lock").write_text(f"{name}==3\n")
    packages = finding("packages", tmp_path, tmp_path)
    assert packages.found == f"{name} missing, locked 3"
    assert packages.needed


def test_package_that_only_tests_need_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("no-such-package==3\n")
    assert finding("packages", tmp_path, tmp_path).good
    left_out = finding("left out", tmp_path, tmp_path)
    assert left_out.found == "no-such-package"
    assert not left_out.needed


@pytest.mark.parametrize(("limit", "gigabytes"), [(str(2 * 2**30), 1), ("max", None)])
def test_memory_is_what_the_container_may_use(
    tmp_path: Path, limit: str, gigabytes: int | None
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    # Of three GB that are held two are of files, which go when memory is asked for.
    (tmp_path / "memory.current").write_text(f"{3 * 2**30}\n")
    (tmp_path / "memory.stat").write_text(f"anon {2**30}\ninactive_file {2 * 2**30}\n")
    here = round(psutil.virtual_memory().available / 2**30)
    found = int(_memory(tmp_path).found.removesuffix(" GB"))
    assert found == gigabytes or (gigabytes is None and abs(found - here) <= 1)


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
    assert all(entry.what != "left out" for entry in examine(tmp_path))
