"""From a configuration to the parameters of the compiled pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.paths import CONFIGS
from slmrec.artifacts import canonical_json, digest_text
from slmrec.config import PipelineConfig
from slmrec.config_file import load_config

SAMPLE = "sample:"
"""The built-in generator with its default size."""


def chosen_settings(
    interactions: str,
    config: Path | None,
    overrides: Sequence[str],
    format: str = "",
    usual: str = "default.yaml",
) -> PipelineConfig:
    """What the options of the command line choose.

    Without `config` it is the sample's settings file for a sample, else the `usual` one.
    """
    sample = interactions.startswith(SAMPLE)
    chosen = config or CONFIGS / ("sample.yaml" if sample else usual)
    named = [f"ingest_interactions.format={format}"] if format else []
    return load_config(chosen, [*overrides, *named])


def config_parameters(config: PipelineConfig) -> dict[str, Any]:
    """Each step's section as JSON text, and the two lists that fan out."""
    sections = {
        f"{name}_config": getattr(config, name).to_json()
        for name in type(config).model_fields
        if name != "variants"
    }
    count = config.cache_teacher.shards
    return {
        "shards": [f"{number}/{count}" for number in range(count)],
        "variants": [variant.to_json() for variant in config.variants],
        "settings_digest": settings_digest(config),
        **sections,
    }


def settings_digest(config: PipelineConfig) -> str:
    """Digest of the settings that decide what is trained; another one is a reason to train."""
    trained = config.model_dump(
        mode="json", exclude={"monitor_drift", "decide_retraining", "promote_model"}
    )
    return digest_text(canonical_json(trained))


def defaults() -> dict[str, Any]:
    """What `pipeline.yaml` holds as defaults: the sample and `configs/sample.yaml`."""
    return {
        "interactions": SAMPLE,
        "items": "",
        "registry": "registry",
        "code_digest": "",
        "started": "",
        "force": False,
        **config_parameters(load_config(CONFIGS / "sample.yaml")),
    }
