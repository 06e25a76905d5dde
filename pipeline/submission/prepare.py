"""From the options of the command line to a bundle: everything is checked before anything is sent."""

from pathlib import Path
from typing import Any

from components import images
from pipeline.parameters import SAMPLE, chosen_settings, config_parameters
from pipeline.paths import PIPELINE_FILE
from pipeline.submission.bundle import Bundle, is_mutable, make_bundle, steps
from pipeline.submission.options import Service, Work
from pipeline.terminal import line_console
from slmrec import __version__
from slmrec.errors import ConfigError
from slmrec.mounts import mounted_uri
from slmrec.storage.client import is_remote, split


def remote_parameters(to: Service, work: Work, started: str) -> dict[str, Any]:
    """The parameters of a run on other machines, where this one's files are not.

    `started` is when the run starts, ISO 8601; empty for a schedule, whose runs start when they do.
    Raises `ConfigError` for a place that only this machine can mean.
    """
    from pipeline.code import code_digest

    settings = chosen_settings(work.interactions, work.config, work.set_, work.format)
    if work.interactions.startswith(SAMPLE):
        from slmrec.data.sample import parse_sample

        parse_sample(work.interactions)
    else:
        _check_place("--interactions", work.interactions, to)
    if work.items:
        _check_place("--items", work.items, to)
    if not work.registry:
        raise ConfigError(
            "--registry: missing; the steps run on other machines, so name gs://BUCKET/PREFIX"
            + (", or a folder of a volume that --deployment mounts" if to is Service.KFP else "")
        )
    _check_registry(work.registry, to)
    return {
        "interactions": work.interactions,
        "items": work.items,
        "registry": work.registry,
        "force": work.force,
        "code_digest": code_digest(),
        "started": started,
        **config_parameters(settings),
    }


def bundle_for(to: Service, work: Work, started: str) -> Bundle:
    """The committed pipeline as it is sent, with its parameters.

    `started` as for `remote_parameters`. Raises `ConfigError` for options that do not fit.
    """
    parameters = remote_parameters(to, work, started)
    try:
        compiled = PIPELINE_FILE.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{PIPELINE_FILE}: not there; run 'python -m pipeline compile'") from None
    if not work.image:
        _check_pinned_code()
        if is_mutable(images.PYTHON):
            raise ConfigError(
                "--image: missing; it is pulled from a registry, so name it in full: NAME@sha256:…"
            )
    if to is Service.VERTEX:
        if work.deployment is not None:
            raise ConfigError("--deployment: only for --target kfp; Vertex runs no pods of yours")
        return make_bundle(compiled, parameters, work.image)
    if work.deployment is None:
        return make_bundle(compiled, parameters, work.image)

    from pipeline.submission.deployment import load_deployment, platform_document

    names = steps(make_bundle(compiled, parameters).spec)
    platform = platform_document(load_deployment(work.deployment, names), names)
    return make_bundle(compiled, parameters, work.image, platform)


def _check_pinned_code() -> None:
    """Raise `ConfigError` when the images of the last release hold other code than this."""
    from pipeline.code import code_digest

    held = images.PINNED["code"]
    if held and held != code_digest():
        raise ConfigError(
            f"--image: missing; {PIPELINE_FILE.name} names the image of release {__version__}, whose "
            "code is not this one's; name an image of this code, or check the release out"
        )


def warn_of_tag(image: str) -> None:
    """Say in one line what an image that is named by a tag leads to."""
    named = image or images.PYTHON
    if is_mutable(named):
        line_console(stderr=True).print(
            f"warning: image {named}: a tag may be moved, and a cluster's cache goes by this text, so "
            "it may serve results of other code; name it with its @sha256:… digest",
            style="yellow",
        )


def _check_registry(place: str, to: Service) -> None:
    """As for a source, but not in a mounted bucket: there no step would open it."""
    uri = mounted_uri(Path(place))
    if uri or (to is Service.VERTEX and not is_remote(place)):
        raise ConfigError(
            f"--registry {place}: a registry rests on locks, which no mounted bucket keeps; expected "
            + (uri if is_remote(uri) else "gs://BUCKET/PREFIX")
            + (", or an absolute path in a volume" if to is Service.KFP else "")
        )
    _check_place("--registry", place, to)


def _check_place(option: str, place: str, to: Service) -> None:
    if is_remote(place):
        split(f"{place}/", "gs://BUCKET/NAME")
        return
    mounted = "/gcs/" if to is Service.VERTEX else "/"
    if "://" in place or not place.startswith(mounted):
        also = "a path under /gcs/" if to is Service.VERTEX else "an absolute path in a volume"
        raise ConfigError(
            f"{option} {place}: other machines do not have it; expected gs://… or {also}"
        )
