"""The bill of materials of a release, made by CycloneDX's own tool and read by its own schema."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline.bill_of_materials import bill_of_materials, installed_packages
from pipeline.lock import pins, with_what_they_need
from pipeline.paths import ROOT
from tests.clouds.asking import PYTHON, ask

pytestmark = pytest.mark.clouds
LOCKED = pins(ROOT / "requirements.lock")


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    pyproject: Path = ROOT / "pyproject.toml"
    needed = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    return bill_of_materials(
        installed_packages(PYTHON.with_name("cyclonedx-py"), pyproject),
        LOCKED,
        with_what_they_need(needed),
        version=Version("1.2.0"),
        date="2026-02-28",
        wheel_digest="0a" * 32,
    )


def test_bill_is_what_the_strict_schema_wants(bill: dict[str, Any]) -> None:
    assert ask("bill_of_materials", bill) is None
    assert "urn:uuid" in ask("bill_of_materials", bill | {"serialNumber": "one"})


def test_every_locked_package_is_listed_and_most_say_their_licence(bill: dict[str, Any]) -> None:
    found = {one["name"]: one for one in bill["components"]}
    locked = {canonicalize_name(name): version for name, version in LOCKED.items()}
    assert {name: one["version"] for name, one in found.items()} == locked
    assert all(one["purl"] == f"pkg:pypi/{n}@{one['version']}" for n, one in found.items())
    licensed = [name for name, one in found.items() if one.get("licenses")]
    assert len(licensed) > 0.95 * len(found)
    assert found["numpy"]["licenses"][0]["expression"].startswith("BSD-3-Clause")


def test_what_a_run_needs_is_required_and_what_checks_need_is_not(bill: dict[str, Any]) -> None:
    scope = {one["name"]: one["scope"] for one in bill["components"]}
    assert {scope[name] for name in ("torch", "kfp", "urllib3", "protobuf")} == {"required"}
    assert {scope[name] for name in ("pytest", "mypy", "docker", "playwright")} == {"excluded"}
