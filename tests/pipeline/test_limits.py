"""What a step's limits do to its task."""

from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from components import images
from components.pretrain_items.component import pretrain_items
from components.snapshot_source.component import snapshot_source
from pipeline import limits
from pipeline.paths import RESOURCES_FILE
from slmrec.policy import load_policy
from slmrec.resources import Resources

ONE_IMAGE = ("ghcr.io/shop/all:1", f"ghcr.io/shop/{images.LOCAL}-0a1b2c", f"{images.LOCAL}-0a1b2c")
"""Names of the one image for every step; `make images` makes such as begin as ours do."""


@pytest.fixture
def executors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Two steps as compiled, of which one has two accelerators."""
    allowed = load_policy(RESOURCES_FILE, Resources)
    gpus = {"accelerator": "nvidia.com/gpu", "accelerators": 2}
    trained = allowed.pretrain_items.model_copy(update=gpus)
    changed = allowed.model_copy(update={"pretrain_items": trained})
    monkeypatch.setattr(limits, "_RESOURCES", changed)
    monkeypatch.setattr(images, "GPU", f"{images.LOCAL}-gpu")

    @dsl.pipeline(name="two")
    def two() -> None:
        limits.limited(snapshot_source(interactions="a", items="", registry="", started=""))
        sequences = dsl.importer("gs://shop/sequences", dsl.Dataset)
        limits.limited(pretrain_items(sequences=sequences.output, config="{}"))

    compiler.Compiler().compile(two, str(tmp_path / "two.yaml"))
    text = (tmp_path / "two.yaml").read_text()
    return {
        "named": yaml.safe_load(text)["deploymentSpec"]["executors"],
        **{
            image: yaml.safe_load(images.with_image(text, image))["deploymentSpec"]["executors"]
            for image in ONE_IMAGE
        },
    }


def test_step_with_accelerators_runs_in_the_image_that_has_cuda(executors: dict) -> None:
    trained = executors["named"]["exec-pretrain-items"]["container"]
    assert trained["image"] == images.GPU
    assert trained["resources"]["accelerator"]["resourceCount"] == "2"
    other = executors["named"]["exec-snapshot-source"]["container"]
    assert other["image"] == images.PYTHON
    assert "accelerator" not in other["resources"]


@pytest.mark.parametrize("image", ONE_IMAGE)
def test_every_step_runs_in_the_one_image_that_is_named(executors: dict, image: str) -> None:
    containers = [one["container"] for one in executors[image].values() if "container" in one]
    assert [one["image"] for one in containers] == [image] * 2
