"""What is sent: the exact document under its digest, and parameters that fit it."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from components import images
from slmrec.errors import ConfigError
from slmrec.yaml_text import parse_yaml

NAME = "slmrec"
"""The pipeline's name in every service."""
EXECUTOR = "exec-"
_IMAGE = re.compile(
    r"[a-z0-9][a-z0-9.-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_TYPES: dict[str, tuple[type, ...]] = {
    "STRING": (str,),
    "BOOLEAN": (bool,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "LIST": (list,),
    "STRUCT": (dict,),
}


@dataclass(frozen=True)
class Bundle:
    """A document and what to run it with."""

    document: str
    spec: dict[str, Any]
    """The pipeline in the document, without what is for Kubernetes only."""
    parameters: dict[str, Any]

    @property
    def version(self) -> str:
        """The version's name: it says which bytes these are."""
        return f"sha256-{hashlib.sha256(self.document.encode()).hexdigest()[:16]}"


def make_bundle(
    compiled: str,
    parameters: Mapping[str, Any],
    image: str = "",
    platform: Mapping[str, Any] | None = None,
) -> Bundle:
    """Put an image into the compiled text, add what is for Kubernetes only, check the parameters.

    Raises `ConfigError` for an image that is no reference and for parameters that do not fit.
    """
    if image:
        check_image("--image", image)
        compiled = images.with_image(compiled, image)
    spec = parse_yaml(compiled, "the compiled pipeline")
    check_parameters(spec, parameters)
    document = compiled
    if platform:
        document = f"{compiled.rstrip()}\n---\n{yaml.safe_dump(dict(platform), sort_keys=True)}"
    return Bundle(document, spec, dict(parameters))


def check_image(option: str, image: str) -> None:
    """Raise `ConfigError` for an image that is no reference."""
    if not _IMAGE.fullmatch(image):
        raise ConfigError(
            f"{option} {image!r}: expected REGISTRY/NAME@sha256:DIGEST or REGISTRY/NAME:TAG"
        )


def is_mutable(image: str) -> bool:
    """Whether an image's name may mean other bytes tomorrow."""
    return "@sha256:" not in image


def steps(spec: Mapping[str, Any]) -> list[str]:
    """The names of all steps of a compiled pipeline, as the folders under `components/` have them."""
    executors = spec["deploymentSpec"]["executors"]
    return sorted(name.removeprefix(EXECUTOR).replace("-", "_") for name in executors)


def check_parameters(spec: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a parameter that is unknown, missing or of another type."""
    declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name, value in parameters.items():
        if name not in declared:
            raise ConfigError(
                f"parameter '{name}': unknown to the compiled pipeline; "
                f"allowed: {', '.join(sorted(declared))}; run 'make compile' if the DAG has changed"
            )
        wanted = declared[name]["parameterType"]
        allowed = _TYPES[wanted]
        fits = isinstance(value, allowed) and (wanted == "BOOLEAN" or not isinstance(value, bool))
        if not fits:
            raise ConfigError(
                f"parameter '{name}': found {type(value).__name__} {value!r:.80}, expected {wanted}"
            )
    for name, definition in declared.items():
        given = name in parameters or "defaultValue" in definition or definition.get("isOptional")
        if not given:
            raise ConfigError(
                f"parameter '{name}': missing and without a default; "
                f"expected {definition['parameterType']}"
            )
