"""What is sent: the document under its digest, and parameters that fit it."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import images
from pipeline.parameters import defaults
from pipeline.paths import PIPELINE_FILE
from pipeline.submission.bundle import check_parameters, make_bundle, steps
from slmrec.errors import ConfigError

COMPILED = PIPELINE_FILE.read_text(encoding="utf-8")
IMAGE = f"ghcr.io/shop/slmrec@sha256:{'0a' * 32}"
ROOT = Path(__file__).resolve().parents[3]


def test_every_step_gets_the_image_when_one_is_named() -> None:
    bundle = make_bundle(COMPILED, defaults(), IMAGE)
    executors = yaml.safe_load(bundle.document)["deploymentSpec"]["executors"]
    assert {one["container"]["image"] for one in executors.values()} == {IMAGE}
    assert images.PYTHON not in bundle.document
    assert bundle.version == f"sha256-{hashlib.sha256(bundle.document.encode()).hexdigest()[:16]}"
    assert bundle.version != make_bundle(COMPILED, defaults()).version


@pytest.mark.parametrize("image", ["a b", "a:b:c", "a@sha256:12", "a\nkind: Pod", "A/b", "'a'"])
def test_an_image_is_refused_when_it_is_no_reference(image: str) -> None:
    with pytest.raises(ConfigError, match=r"--image .*expected REGISTRY/NAME@sha256:DIGEST"):
        make_bundle(COMPILED, defaults(), image)


def test_the_steps_are_the_folders_of_components() -> None:
    folders = {path.parent.name for path in ROOT.glob("components/*/component.py")}
    assert set(steps(yaml.safe_load(COMPILED))) == folders


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": []}, "parameter 'shard': unknown to the compiled pipeline; allowed: build_seq"),
        ({"force": "yes"}, "parameter 'force': found str 'yes', expected BOOLEAN"),
        ({"force": 1}, "parameter 'force': found int 1, expected BOOLEAN"),
        ({"items": None}, "parameter 'items': found NoneType None, expected STRING"),
        ({"shards": "0/2"}, "parameter 'shards': found str '0/2', expected LIST"),
    ],
)
def test_a_parameter_is_refused_when_it_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_bundle(COMPILED, defaults() | change)


def test_a_parameter_is_asked_for_when_it_has_no_default() -> None:
    declared = {
        "rate": {"parameterType": "NUMBER_DOUBLE"},
        "count": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3},
    }
    spec = {"root": {"inputDefinitions": {"parameters": declared}}}
    with pytest.raises(ConfigError, match="'rate': missing and without a default; expected NUMBER"):
        check_parameters(spec, {"count": 2})
    check_parameters(spec, {"rate": 1})
    with pytest.raises(ConfigError, match="'count': found bool True, expected NUMBER_INTEGER"):
        check_parameters(spec, {"rate": 0.5, "count": True})
