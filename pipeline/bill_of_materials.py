"""A release's bill of materials: its packages in the versions of the lock, as CycloneDX has it.

`cyclonedx-py` (OWASP) reads the environment: names, licences, addresses and who needs whom. Here it is
held against the lock, and made the same for the same release: no clock, no random number.
"""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from slmrec.artifacts import canonical_json
from slmrec.errors import ConfigError, SlmrecError

SPEC_VERSION = "1.6"
ROOT_REFERENCE = "root-component"
"""What `cyclonedx-py` calls the project itself."""


def installed_packages(tool: Path, pyproject: Path) -> dict[str, Any]:
    """What `cyclonedx-py` finds in the environment of this interpreter.

    Raises `ConfigError` when the tool is not there, `SlmrecError` when it fails.
    """
    if not tool.is_file():
        raise ConfigError(f"{tool}: no such program; 'make release' installs it before it starts")
    options = ["--output-reproducible", "--spec-version", SPEC_VERSION, "--of", "JSON"]
    # Code that the path leads to is not what is installed.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 a command of ours
        [str(tool), "environment", sys.executable, "--pyproject", str(pyproject), *options],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SlmrecError(f"{tool.name} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def bill_of_materials(
    found: Mapping[str, Any],
    locked: Mapping[str, str],
    needed: Collection[str],
    *,
    version: Version,
    date: str,
    wheel_digest: str,
) -> dict[str, Any]:
    """The document of a release: every locked package, with what a run needs told from the rest.

    `found` is what `installed_packages` gave, `locked` the version of each package of the lock, by
    name, `needed` the names of those that a run needs; the others, for tests and checks, have the scope
    `excluded`. The lock has no hashes of files, so the release's own wheel is the only one with any.

    Raises `ConfigError` when the environment is not what the lock says.
    """
    pins = {canonicalize_name(name): Version(pin) for name, pin in locked.items()}
    components, references = [], {ROOT_REFERENCE: ROOT_REFERENCE}
    for component in found["components"]:
        name = canonicalize_name(component["name"])
        pin = pins.pop(name, None)
        if pin is None:
            continue  # not of the lock
        if Version(Version(component["version"]).public) != pin:
            raise ConfigError(
                f"requirements.lock: {name} {pin}, installed is {component['version']}; run "
                "'make setup'"
            )
        # `2.13.0+cpu` is a build for one kind of machine; the lock is for all.
        reference = references[component["bom-ref"]] = f"{name}=={pin}"
        purl = f"pkg:pypi/{name}@{pin}"
        components.append(
            component
            | {"bom-ref": reference, "name": name, "version": str(pin), "purl": purl}
            | {"scope": "required" if name in needed else "excluded"}
        )
    if pins:
        raise ConfigError(
            f"requirements.lock: {', '.join(sorted(pins))} not installed; run 'make setup'"
        )
    edges = {}
    for one in found["dependencies"]:
        if one["ref"] in references:
            needs = [references[to] for to in one.get("dependsOn", []) if to in references]
            edges[references[one["ref"]]] = sorted(needs)
    metadata = found["metadata"]
    metadata = metadata | {
        "timestamp": f"{date}T00:00:00Z",
        "component": metadata["component"]
        | {
            "version": str(version),
            "purl": f"pkg:pypi/slmrec@{version}",
            "hashes": [{"alg": "SHA-256", "content": wheel_digest}],
        },
    }
    document = {
        **found,
        "metadata": metadata,
        "components": sorted(components, key=lambda one: str(one["bom-ref"])),
        "dependencies": [{"ref": ref, "dependsOn": to} for ref, to in sorted(edges.items())],
    }
    digest = hashlib.sha256(canonical_json(document).encode()).hexdigest()
    return document | {"serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, digest).urn}
