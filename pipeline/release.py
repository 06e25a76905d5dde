"""`python -m pipeline release`: one version, in every place that tells it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from packaging.version import InvalidVersion, Version

from pipeline import changelog
from pipeline.bill_of_materials import bill_of_materials, installed_packages
from pipeline.lock import pins, with_what_they_need
from pipeline.paths import RESOURCES_FILE, ROOT
from pipeline.terminal import line_console
from slmrec import __version__
from slmrec.artifacts import digest_file, write_json
from slmrec.errors import ConfigError, SlmrecError

DIST = "dist"
VERSION_FILE = "src/slmrec/__init__.py"
_PINS, _CHANGELOG, _COMPILED = "components/images.json", changelog.FILE, "pipeline.yaml"
_STAMP = re.compile(r'^__version__ = "[^"]*"$', re.MULTILINE)
_PACKAGED = ("src", "pyproject.toml", "README.md", "LICENSE")
_REVISION = '{{ index .Config.Labels "org.opencontainers.image.revision" }}'


@dataclass(frozen=True)
class Release:
    """What is released, after it was found to be in order."""

    version: Version
    date: str
    """ISO 8601."""
    images: dict[str, str]
    """By `cpu` and `gpu`, pinned by digest; empty where none was named."""
    stamped: bool
    """The version was stamped before; now its images are pinned."""


def release(
    version: Annotated[str, typer.Argument(help="The new version, X.Y.Z or X.Y.ZrcN.")],
    image_cpu: Annotated[
        str, typer.Option(help="Image of the steps, NAME@sha256:DIGEST; default: none is pinned.")
    ] = "",
    image_gpu: Annotated[
        str,
        typer.Option(help="The same with CUDA, for steps that resources.yaml gives accelerators."),
    ] = "",
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Default: today, UTC.")
    ] = None,
    sbom_tool: Annotated[Path, typer.Option(help="The program cyclonedx-py.")] = (
        ROOT / ".venv-clouds" / "bin" / "cyclonedx-py"
    ),
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, say what would be done, do nothing."),
    ] = False,
) -> None:
    """Stamp a version, cut the changelog, pin images in pipeline.yaml, write wheel and SBOM.

    An image holds the code of its version, so it is built between two calls: one that stamps, and one
    of the same version that pins what was pushed.

    Example: python -m pipeline release 1.2.0 --image-cpu ghcr.io/shop/slmrec@sha256:…
    """
    today = (day.date() if day else datetime.now(UTC).date()).isoformat()
    _check_clean(ROOT)
    made = checked(ROOT, version, image_cpu, image_gpu, today)
    if not sbom_tool.is_file():
        raise ConfigError(f"--sbom-tool {sbom_tool}: no such program; 'make release' installs it")
    console = line_console()
    for line in _plan(made):
        console.print(f"would {line}" if dry_run else line)
    if dry_run:
        return
    with restored_on_failure(ROOT):
        write_files(ROOT, made)
        _compile(ROOT)
        wheel = build_wheel(ROOT, made)
        write_bill_of_materials(ROOT, made, wheel, sbom_tool)
    if made.stamped:
        console.print(f"now: git commit -am 'Release {made.version}' && git tag v{made.version}")
    else:
        console.print(
            f"now: git commit -am 'Release {made.version}', build and push its image (make images), "
            f"then make release VERSION={made.version} IMAGE_CPU=NAME@sha256:…"
        )


def _is_early(version: Version) -> bool:
    """An alpha or a beta."""
    return version.pre is not None and version.pre[0] != "rc"


def checked(root: Path, text: str, cpu: str, gpu: str, today: str) -> Release:
    """The release, or `ConfigError` for what is not in order."""
    from pipeline.submission.bundle import check_image, is_mutable

    try:
        version = Version(text)
    except InvalidVersion:
        version = Version("0")
    final = len(version.release) == 3 and not (
        version.epoch or version.local or version.is_devrelease or _is_early(version)
    )
    if str(version) != text or not final or version.is_postrelease:
        raise ConfigError(f"version {text}: expected X.Y.Z, or X.Y.ZrcN before it")
    images = {"cpu": cpu, "gpu": gpu}
    for name, image in images.items():
        if image:
            check_image(f"--image-{name}", image)
            if is_mutable(image):
                raise ConfigError(
                    f"--image-{name} {image}: a tag may be moved; name it with its @sha256:… digest"
                )
    _check_both(cpu, gpu)
    written = (root / _CHANGELOG).read_text(encoding="utf-8")
    before = changelog.released(written)
    stamped = version == Version(__version__) and version in before and bool(cpu)
    if stamped:
        if changelog.unreleased(written):
            raise ConfigError(
                f"version {text}: stamped before, and {_CHANGELOG} tells of changes since; an image of "
                "it is pinned before anything else changes, so release a newer version"
            )
        return Release(version, _dated(written, version), images, stamped=True)
    newest = max(before, default=None)
    if version < Version(__version__) or (newest is not None and version <= newest):
        raise ConfigError(
            f"version {text}: not newer than {newest or __version__}; expected a later one"
            + ("" if cpu or version != newest else ", or --image-cpu to pin the image of this one")
        )
    changelog.cut(written, version, today)
    return Release(version, today, images, stamped=False)


@contextmanager
def restored_on_failure(root: Path) -> Iterator[None]:
    """Put the repository's files back as they were when the block fails."""
    names = (VERSION_FILE, _PINS, _CHANGELOG, _COMPILED)
    before = {name: (root / name).read_bytes() for name in names}
    try:
        yield
    except BaseException:
        for name, content in before.items():
            (root / name).write_bytes(content)
        raise


def write_files(root: Path, made: Release) -> None:
    """Stamp the version and cut the changelog, unless that was done before; write down the images.

    Raises `ConfigError` when an image that is on this machine holds other code.
    """
    from pipeline.code import code_digest

    if not made.stamped:
        place = root / VERSION_FILE
        stamped, count = _STAMP.subn(
            f'__version__ = "{made.version}"', place.read_text(encoding="utf-8")
        )
        assert count == 1, f"{VERSION_FILE} has {count} lines of __version__"
        place.write_text(stamped, encoding="utf-8")
        log = root / _CHANGELOG
        log.write_text(
            changelog.cut(log.read_text(encoding="utf-8"), made.version, made.date),
            encoding="utf-8",
        )
    code = code_digest(root)
    for name, image in made.images.items():
        held = held_code(image) if image else code
        if held is None:
            line_console(stderr=True).print(
                f"warning: {image} is not on this machine, so nobody looked into it"
            )
        elif held != code:
            raise ConfigError(
                f"--image-{name} {image}: holds code {held[:12] or 'of nobody knows which digest'}, "
                f"version {made.version} is {code[:12]}; release the version without images first, "
                "build its image from that commit, push it, and pin it with a second call"
            )
    write_json(root / _PINS, {**made.images, "code": code if any(made.images.values()) else ""})


def held_code(image: str) -> str | None:
    """Digest of the code in an image, by its label; None when no engine here has the image."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    found = subprocess.run(  # noqa: S603 a command of ours
        [docker, "image", "inspect", "--format", _REVISION, image], capture_output=True, text=True
    )
    return found.stdout.strip() if found.returncode == 0 else None


def build_wheel(root: Path, made: Release) -> Path:
    """Build the wheel from what git tracks; the same release gives the same bytes."""
    midnight = datetime.combine(date.fromisoformat(made.date), datetime.min.time(), UTC)
    tracked = _git(root, "ls-files", "-z", "--", *_PACKAGED).split("\0")
    with tempfile.TemporaryDirectory() as temporary:
        for name in filter(None, tracked):
            copy = Path(temporary, "source", name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, copy)
            copy.chmod(0o644)
        options = [
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "-q",
            "--wheel-dir",
            temporary,
        ]
        environment = os.environ | {"SOURCE_DATE_EPOCH": f"{midnight.timestamp():.0f}"}
        _do(
            [sys.executable, "-m", "pip", "wheel", *options, str(Path(temporary, "source"))],
            root,
            environment,
        )
        (built,) = Path(temporary).glob("*.whl")
        (root / DIST).mkdir(exist_ok=True)
        return Path(shutil.move(built, root / DIST / built.name))


def write_bill_of_materials(root: Path, made: Release, wheel: Path, tool: Path) -> Path:
    """Write the SBOM beside the wheel."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    document = bill_of_materials(
        installed_packages(tool, root / "pyproject.toml"),
        pins(root / "requirements.lock"),
        with_what_they_need(project["dependencies"]),
        version=made.version,
        date=made.date,
        wheel_digest=digest_file(wheel),
    )
    place = root / DIST / f"slmrec-{made.version}.cdx.json"
    write_json(place, document)
    return place


def _plan(made: Release) -> Iterator[str]:
    if not made.stamped:
        yield f"stamp {made.version} in {VERSION_FILE}"
        yield f"move the entries under Unreleased in {_CHANGELOG} to [{made.version}] - {made.date}"
    for name, image in made.images.items():
        if image:
            yield f"pin {image} as the {name} image in {_PINS}"
    yield f"compile {_COMPILED}"
    yield f"write {DIST}/slmrec-{made.version}-py3-none-any.whl"
    yield f"write {DIST}/slmrec-{made.version}.cdx.json"


def _check_both(cpu: str, gpu: str) -> None:
    from pipeline.resources import load_resources

    if gpu and not cpu:
        raise ConfigError("--image-gpu: named without --image-cpu, which most steps run in")
    limits = load_resources()
    with_accelerators = [name for name in limits.names() if limits.of(name).accelerators]
    if cpu and with_accelerators and not gpu:
        raise ConfigError(
            f"--image-gpu: missing; {RESOURCES_FILE.name} gives accelerators to "
            f"{', '.join(with_accelerators)}, which run in it"
        )


def _check_clean(root: Path) -> None:
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        shown = ", ".join(line[3:] for line in changed[:5]) + (" …" if len(changed) > 5 else "")
        raise ConfigError(
            f"{root}: changed and not committed: {shown}; a release is of a commit, so commit first"
        )


def _dated(written: str, version: Version) -> str:
    found = re.search(rf"^## \[{re.escape(str(version))}\] - (\S+)$", written, re.MULTILINE)
    assert found is not None
    return found[1]


def _compile(root: Path) -> None:
    """In a process of its own, which reads the files anew."""
    _do([sys.executable, "-m", "pipeline", "compile"], root, dict(os.environ))


def _git(root: Path, *arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise ConfigError("git is not installed here, and a release is of a commit; install it")
    done = subprocess.run(  # noqa: S603 a command of ours
        [git, *arguments], cwd=root, capture_output=True, text=True
    )
    if done.returncode:
        raise ConfigError(f"{root}: git {arguments[0]} says: {done.stderr.strip()}")
    return done.stdout


def _do(command: list[str], root: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 a command of ours
        command, cwd=root, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SlmrecError(
            f"{' '.join(command[1:4])} ended with {done.returncode}: "
            f"{(done.stderr or done.stdout).strip()[-800:]}"
        )
