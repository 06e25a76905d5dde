"""A release, in a copy of the repository."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from pipeline.changelog import cut, released, unreleased
from pipeline.paths import ROOT
from pipeline.release import Release, build_wheel, checked
from slmrec import __version__
from slmrec.artifacts import write_json
from slmrec.errors import ConfigError

CPU = f"ghcr.io/shop/slmrec@sha256:{'0a' * 32}"
GPU = f"ghcr.io/shop/slmrec-gpu@sha256:{'0b' * 32}"
LOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n- A thing.\n"
RELEASED = f"{LOG}\n## [1.0.0] - 2026-01-31\n\n### Added\n- The first thing.\n"
DAY = "2026-02-28"
# Stands for cyclonedx-py, which `make test-clouds` runs: what is locked, torch as built for CPUs.
TOOL = f"""#!{sys.executable}
import json, sys
from pathlib import Path

sys.path.insert(0, {str(ROOT)!r})
from pipeline.lock import pins

found = {{name: v + "+cpu" * (name == "torch") for name, v in pins(Path("requirements.lock")).items()}}
parts = [{{"type": "library", "name": n, "version": v, "bom-ref": n}} for n, v in found.items()]
root = {{"type": "application", "name": "slmrec", "bom-ref": "root-component"}}
needs = [{{"ref": "root-component", "dependsOn": sorted(found)}}]
head = {{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}}
found = {{"metadata": {{"component": root}}, "components": parts, "dependencies": needs}}
print(json.dumps(head | found))
"""


class Copy:
    """What git tracks here, committed in a repository of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = f"{root / 'src'}{os.pathsep}{root}"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and not name.startswith((".venv", "docs/")):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes((ROOT / name).read_bytes())
        (root / "CHANGELOG.md").write_text(LOG)
        # Even when this repository stands at a release that has pinned its images.
        write_json(root / "components" / "images.json", {"code": "", "cpu": "", "gpu": ""})
        self.git("init", "-q")
        self.commit("all")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": self.path},
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def one_copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("release") / "copy")


@pytest.fixture
def copy(one_copy: Copy) -> Copy:
    """The copy as it was first committed."""
    (first,) = one_copy.git("rev-list", "--max-parents=0", "HEAD").split()
    one_copy.git("reset", "-q", "--hard", first)
    one_copy.git("clean", "-qfd")
    shutil.rmtree(one_copy.root / "dist", ignore_errors=True)
    return one_copy


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    place = tmp_path / "cyclonedx-py"
    place.write_text(TOOL)
    place.chmod(0o755)
    return place


def images(document: Path) -> set[str]:
    executors = yaml.safe_load(document.read_text())["deploymentSpec"]["executors"]
    return {one["container"]["image"] for one in executors.values()}


def test_version_is_stamped_then_its_images_are_pinned(copy: Copy, tool: Path) -> None:
    first = ("release", "9.1.0", "--date", DAY, "--sbom-tool", str(tool))
    said = copy.call(*first, "--dry-run")
    assert said.returncode == 0, said.stderr
    assert "would stamp 9.1.0 in src/slmrec/__init__.py" in said.stdout
    assert (
        f"would move the entries under Unreleased in CHANGELOG.md to [9.1.0] - {DAY}" in said.stdout
    )
    assert copy.git("status", "--porcelain") == ""

    said = copy.call(*first)
    assert said.returncode == 0, said.stderr
    changed = copy.git("status", "--porcelain").split()
    assert changed[1::2] == ["CHANGELOG.md", "pipeline.yaml", "src/slmrec/__init__.py"]
    written = (copy.root / "CHANGELOG.md").read_text()
    assert (
        written
        == f"# Changelog\n\n## [Unreleased]\n\n## [9.1.0] - {DAY}\n\n### Added\n- A thing.\n"
    )
    assert images(copy.root / "pipeline.yaml") == {"slmrec-python:9.1.0"}
    wheel = copy.root / "dist" / "slmrec-9.1.0-py3-none-any.whl"
    bill = json.loads((copy.root / "dist" / "slmrec-9.1.0.cdx.json").read_text())
    project = bill["metadata"]["component"]
    assert (project["version"], project["purl"]) == ("9.1.0", "pkg:pypi/slmrec@9.1.0")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert project["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert zipfile.ZipFile(wheel).read("slmrec/__init__.py").endswith(b'__version__ = "9.1.0"\n')

    said = copy.call(*first)
    assert (said.returncode, "changed and not committed" in said.stderr) == (2, True)
    copy.commit("Release 9.1.0")
    said = copy.call(*first)
    assert "not newer than 9.1.0; expected a later one, or --image-cpu to pin" in said.stderr

    said = copy.call(*first, "--image-cpu", CPU)
    assert said.returncode == 0, said.stderr
    assert "stamp" not in said.stdout
    assert images(copy.root / "pipeline.yaml") == {CPU}
    assert (copy.root / "CHANGELOG.md").read_text() == written
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == digest  # built again
    assert copy.call("compile", "--check").returncode == 0
    copy.commit("Pin")

    submit = (
        *("submit", "--target", "vertex", "--project", "shop", "--location", "europe-west4"),
        *("--staging", "gs://shop/runs", "--registry", "gs://shop/models", "--dry-run"),
    )
    sent = copy.call(*submit)
    assert sent.returncode == 0, sent.stderr
    assert CPU in sent.stdout
    assert "warning" not in sent.stderr
    (copy.root / "src" / "slmrec" / "since.py").write_text("NEW = True\n")
    refused = copy.call(*submit)
    assert refused.returncode == 2
    assert "names the image of release 9.1.0, whose code is not this one's" in refused.stderr
    assert copy.call(*submit, "--image", GPU).returncode == 0


def test_everything_is_as_before_when_the_release_fails(copy: Copy, tool: Path) -> None:
    tool.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    said = copy.call("release", "9.1.0", "--sbom-tool", str(tool))
    assert said.returncode == 4
    assert "cyclonedx-py ended with 3: broken" in said.stderr
    assert copy.git("status", "--porcelain") == ""


def test_image_is_refused_when_it_holds_other_code(
    copy: Copy, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "bin"
    engine.mkdir()
    (engine / "docker").write_text("#!/bin/sh\necho 0123456789abcdef\n")
    (engine / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{engine}{os.pathsep}{os.environ['PATH']}")
    done = copy.call("release", "9.1.0", "--image-cpu", CPU, "--sbom-tool", str(tool))
    assert done.returncode == 2
    assert "holds code 0123456789ab, version 9.1.0 is " in done.stderr
    assert copy.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("version", "cpu", "gpu", "message"),
    [
        ("1.1", "", "", r"version 1\.1: expected X\.Y\.Z"),
        ("v1.1.0", "", "", r"version v1\.1\.0: expected X\.Y\.Z"),
        ("1.1.0-rc.1", "", "", "expected X"),
        ("1.1.0.dev1", "", "", "expected X"),
        ("1.1.0+local", "", "", "expected X"),
        ("latest", "", "", "expected X"),
        ("1.0.0", "", "", r"version 1\.0\.0: not newer than 1\.0\.0; expected a later one"),
        ("0.9.0", CPU, "", r"version 0\.9\.0: not newer than 1\.0\.0"),
        ("1.0.0rc1", "", "", "not newer"),
        ("1.1.0", "ghcr.io/shop/slmrec:1", "", "a tag may be moved; name it with its @sha256"),
        ("1.1.0", "a b", "", "--image-cpu 'a b': expected REGISTRY/NAME"),
        ("1.1.0", "", GPU, "--image-gpu: named without --image-cpu"),
    ],
)
def test_release_is_refused_when_something_is_not_in_order(
    tmp_path: Path, version: str, cpu: str, gpu: str, message: str
) -> None:
    (tmp_path / "CHANGELOG.md").write_text(RELEASED)
    with pytest.raises(ConfigError, match=message):
        checked(tmp_path, version, cpu, gpu, DAY)


def test_first_release_may_be_the_version_that_stands_there(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(LOG)
    made = checked(tmp_path, __version__, CPU, GPU, DAY)
    assert made == Release(Version(__version__), DAY, {"cpu": CPU, "gpu": GPU}, stamped=False)


def test_image_is_not_pinned_when_changes_came_after_the_version(tmp_path: Path) -> None:
    heading = f"\n## [{__version__}] - {DAY}\n\n- First.\n"
    (tmp_path / "CHANGELOG.md").write_text(LOG + heading)
    with pytest.raises(
        ConfigError, match=r"stamped before, and CHANGELOG\.md tells of changes since"
    ):
        checked(tmp_path, __version__, CPU, "", DAY)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n" + heading)
    made = checked(tmp_path, __version__, CPU, "", "2026-03-31")
    assert (made.stamped, made.date) == (True, DAY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Changelog\n", "0 lines '## \\[Unreleased\\]', expected one"),
        (LOG + LOG, "2 lines"),
        ("## [Unreleased]\n\n### Added\n\n## [1.0.0] - 2026-01-31\n- A.\n", "nothing to release"),
    ],
)
def test_changelog_is_refused_when_it_tells_of_nothing(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cut(text, Version("2.0.0"), DAY)


def test_changelog_of_this_repository_is_one_that_can_be_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert released(text) == sorted(released(text), reverse=True)
    assert unreleased(cut(RELEASED, Version("1.1.0"), DAY)) == ""
    assert released(cut(RELEASED, Version("1.1.0"), DAY)) == [Version("1.1.0"), Version("1.0.0")]


def test_a_version_may_be_what_its_candidate_was() -> None:
    candidate = cut(LOG, Version("1.1.0rc1"), DAY)
    made = cut(candidate, Version("1.1.0"), "2026-03-01")
    assert released(made) == [Version("1.1.0"), Version("1.1.0rc1")]
    assert "## [1.1.0] - 2026-03-01\n\nAs 1.1.0rc1.\n\n## [1.1.0rc1]" in made
    for other in ("1.1.1", "1.1.0"):
        with pytest.raises(ConfigError, match="nothing to release"):
            cut(made, Version(other), DAY)


def test_wheel_has_the_same_bytes_when_it_is_built_again(copy: Copy) -> None:
    made = Release(Version(__version__), DAY, {"cpu": "", "gpu": ""}, stamped=False)
    first = build_wheel(copy.root, made).read_bytes()
    (copy.root / "src" / "slmrec" / "stray.py").write_text("not tracked\n")
    assert build_wheel(copy.root, made).read_bytes() == first
    names = zipfile.ZipFile(
        copy.root / "dist" / f"slmrec-{__version__}-py3-none-any.whl"
    ).namelist()
    assert "slmrec/dashboard/templates/base.html" in names
    assert not [name for name in names if name.startswith(("tests", "pipeline", "components"))]
