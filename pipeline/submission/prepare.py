"""From the options of the command line to a bundle: everything is checked before anything is sent."""

from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.parameters import SAMPLE, config_parameters
from pipeline.paths import PIPELINE_FILE
from pipeline.submission.bundle import Bundle, is_mutable, make_bundle, steps
from pipeline.submission.options import Service
from slmrec.config import PipelineConfig
from slmrec.errors import ConfigError


def remote_parameters(
    to: Service,
    settings: PipelineConfig,
    *,
    interactions: str,
    items: str,
    registry: str,
    force: bool,
    started: str,
) -> dict[str, Any]:
    """The parameters of a run on other machines, where this one's files are not.

    `started` is when the run starts, ISO 8601; empty for a schedule, whose runs start when they do.
    Raises `ConfigError` for a place that only this machine can mean.
    """
    from pipeline.code import code_digest

    if interactions.startswith(SAMPLE):
        from slmrec.data.sample import parse_sample

        parse_sample(interactions)
    else:
        _check_place("--interactions", interactions, to)
    if items:
        _check_place("--items", items, to)
    if not registry:
        raise ConfigError(
            "--registry: missing; the steps run on other machines, so name gs://BUCKET/PREFIX"
            + (", or a folder of a volume that --deployment mounts" if to is Service.KFP else "")
        )
    _check_place("--registry", registry, to)
    return {
        "interactions": interactions,
        "items": items,
        "registry": registry,
        "force": force,
        "code_digest": code_digest(),
        "started": started,
        **config_parameters(settings),
    }


def bundle_for(
    to: Service, parameters: dict[str, Any], image: str, deployment: Path | None
) -> Bundle:
    """The committed pipeline as it is sent. Raises `ConfigError` for options that do not fit."""
    try:
        compiled = PIPELINE_FILE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{PIPELINE_FILE}: not there; run 'python -m pipeline compile'") from None
    if to is Service.VERTEX:
        if deployment is not None:
            raise ConfigError("--deployment: only for --target kfp; Vertex runs no pods of yours")
        if not image:
            raise ConfigError(
                "--image: missing; Vertex pulls it from a registry, so name it in full"
            )
        return make_bundle(compiled, parameters, image)
    if deployment is None:
        return make_bundle(compiled, parameters, image)

    from pipeline.submission.deployment import load_deployment, platform_document

    names = steps(make_bundle(compiled, parameters).spec)
    platform = platform_document(load_deployment(deployment, names), names)
    return make_bundle(compiled, parameters, image, platform)


def warn_of_tag(image: str) -> None:
    """Say in one line what an image that is named by a tag leads to."""
    from components import images

    named = image or images.PYTHON
    if is_mutable(named):
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"warning: image {named}: a tag may be moved, and a cluster's cache goes by this text, so "
            "it may serve results of other code; name it with its @sha256:… digest",
            style="yellow",
            markup=False,
        )


def _check_place(option: str, place: str, to: Service) -> None:
    if place.startswith("gs://"):
        from slmrec.storage.client import split

        split(f"{place}/", "gs://BUCKET/NAME")
        return
    mounted = "/gcs/" if to is Service.VERTEX else "/"
    if "://" in place or not place.startswith(mounted):
        also = "a path under /gcs/" if to is Service.VERTEX else "an absolute path in a volume"
        raise ConfigError(
            f"{option} {place}: other machines do not have it; expected gs://… or {also}"
        )
