"""The bill of materials, from what cyclonedx-py would say of four packages."""

from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline.bill_of_materials import bill_of_materials
from pipeline.lock import pins, with_what_they_need
from slmrec.errors import ConfigError

DAY = "2026-02-28"
FOUND = {
    "metadata": {"component": {"name": "slmrec", "bom-ref": "root-component"}},
    "components": [
        {"name": name, "version": version, "bom-ref": f"{name}=={version}"}
        for name, version in (
            ("Torch", "2.0+cpu"),
            ("numpy", "1.0"),
            ("pytest", "3.0"),
            ("x", "1"),
        )
    ],
    "dependencies": [
        {"ref": "root-component", "dependsOn": ["Torch==2.0+cpu", "pytest==3.0", "x==1"]},
        {"ref": "Torch==2.0+cpu", "dependsOn": ["numpy==1.0"]},
        {"ref": "x==1"},
    ],
}
LOCKED = {"torch": "2.0", "numpy": "1.0", "pytest": "3.0"}


def made(locked: dict[str, str], version: str = "1.1.0") -> dict[str, Any]:
    return bill_of_materials(
        FOUND,
        locked,
        {"torch", "numpy"},
        version=Version(version),
        date=DAY,
        wheel_digest="0a" * 32,
    )


def test_what_a_run_needs_is_told_from_what_only_checks_need() -> None:
    found = {one["bom-ref"]: one["scope"] for one in made(LOCKED)["components"]}
    assert found == {
        "numpy==1.0": "required",
        "pytest==3.0": "excluded",
        "torch==2.0": "required",
    }


def test_packages_are_the_locks_whatever_build_of_them_is_here() -> None:
    bill = made(LOCKED)
    assert [one["purl"] for one in bill["components"]] == [
        "pkg:pypi/numpy@1.0",
        "pkg:pypi/pytest@3.0",
        "pkg:pypi/torch@2.0",
    ]
    assert bill["dependencies"] == [
        {"ref": "root-component", "dependsOn": ["pytest==3.0", "torch==2.0"]},
        {"ref": "torch==2.0", "dependsOn": ["numpy==1.0"]},
    ]


def test_serial_number_and_time_are_those_of_the_release() -> None:
    bill = made(LOCKED)
    assert bill["metadata"]["timestamp"] == f"{DAY}T00:00:00Z"
    assert bill == made(dict(reversed(LOCKED.items())))
    assert bill["serialNumber"] != made(LOCKED, "1.2.0")["serialNumber"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numpy": "1.1"}, "numpy 1.1, installed is 1.0; run 'make setup'"),
        ({"polars": "2.0"}, "polars not installed; run 'make setup'"),
    ],
)
def test_environment_is_refused_when_it_is_not_the_locks(
    change: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        made(LOCKED | change)


def test_lock_is_read_without_its_comments(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a==1.0\n    # via b\nb==2.0 ; python_version < '4'  # why\n")
    assert pins(lock) == {"a": "1.0", "b": "2.0"}


def test_packages_of_an_extra_are_needed_where_the_extra_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs = {
        "a": ["B.b[fast]>=1", "c ; extra == 'more'", "d ; python_version < '3'"],
        "b-b": ["e ; extra == 'fast'", "a"],
    }
    monkeypatch.setattr(
        "importlib.metadata.requires", lambda name: needs.get(canonicalize_name(name))
    )
    assert with_what_they_need(["a"]) == {"a", "b-b", "e"}
    assert with_what_they_need(["a[more]"]) == {"a", "b-b", "e", "c"}
