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
from pipeline.resources import Resources, load_resources
from slmrec.errors import ConfigError

ONE_IMAGE = ("ghcr.io/shop/all:1", f"ghcr.io/shop/{images.LOCAL}-0a1b2c", f"{images.LOCAL}-0a1b2c")
"""Names of the one image for every step; `make images` makes such as begin as ours do."""


@pytest.fixture
def executors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Two steps as compiled, of which one has two accelerators."""
    allowed = load_resources().model_dump()
    allowed["pretrain_items"] |= {"accelerator": "nvidia.com/gpu", "accelerators": 2}
    changed = Resources.model_validate(allowed)
    monkeypatch.setattr(limits, "_RESOURCES", changed)
    monkeypatch.setattr(images, "GPU", f"{images.LOCAL}-gpu")

    @dsl.pipeline(name="two")
    def two() -> None:
        limits.limited(
            snapshot_source(
                interactions="a", items="", registry="", started="", monitor_drift_config="{}"
            )
        )
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


def test_every_step_has_a_line_and_no_line_is_without_a_step(tmp_path: Path) -> None:
    text = RESOURCES_FILE.read_text(encoding="utf-8")
    file = tmp_path / "resources.yaml"
    file.write_text(text.replace("prune_student:", "bake_student:"), encoding="utf-8")
    with pytest.raises(
        ConfigError, match="no line for the step 'prune_student', which is a folder"
    ):
        load_resources(file)
    line = "bake: {cpu: 1, memory_gb: 2, timeout_minutes: 60, retries: 3}\n"
    file.write_text(text + line, encoding="utf-8")
    with pytest.raises(
        ConfigError, match="no step is called 'bake'; the steps are build_sequences"
    ):
        load_resources(file)


def test_a_limit_that_is_none_is_named_with_those_that_are(tmp_path: Path) -> None:
    file = tmp_path / "resources.yaml"
    text = RESOURCES_FILE.read_text(encoding="utf-8")
    file.write_text(
        text.replace("cpu: 1, memory_gb: 2,", "cpus: 1, memory_gb: 2,"), encoding="utf-8"
    )
    with pytest.raises(
        ConfigError, match=r"snapshot_source\.cpus: unknown key; did you mean 'cpu'"
    ):
        load_resources(file)
