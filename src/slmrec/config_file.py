"""Settings files and `--set` overrides, checked into one `PipelineConfig`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slmrec.config import PipelineConfig, explain
from slmrec.errors import ConfigError
from slmrec.yaml_text import parse_yaml, read_yaml


def load_config(path: Path, overrides: Iterable[str] = ()) -> PipelineConfig:
    """Read a YAML file of settings and apply `a.b=value` overrides.

    Raises `ConfigError` with the field's path, the value found and what is allowed.
    """
    loaded = read_yaml(path, "configuration file")
    loaded = {} if loaded is None else loaded
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{path}: expected a mapping of step names, found {type(loaded).__name__}"
        )
    for override in overrides:
        _apply_override(loaded, override)
    return parse_config(loaded, source=str(path))


def parse_config(settings: Mapping[str, Any], source: str) -> PipelineConfig:
    """Validate settings. Raises `ConfigError` naming `source` and the field."""
    try:
        return PipelineConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(explain(PipelineConfig, error, source)) from None


def change_config(config: PipelineConfig, overrides: Iterable[str]) -> PipelineConfig:
    """The settings with `a.b=value` overrides applied. Raises `ConfigError` as `load_config` does."""
    settings = config.model_dump(mode="json")
    for override in overrides:
        _apply_override(settings, override)
    return parse_config(settings, source="--set")


def _apply_override(settings: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: expected STEP.KEY=VALUE")
    value = parse_yaml(text, f"--set {override[:200]}: the value")
    if isinstance(value, str):
        value = _as_number(value)
    *parents, last = key.split(".")
    section: Any = settings
    for name in parents:
        if section.get(name) is None:  # absent, or an optional section that is not there
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: '{name}' is not a section")
    section[last] = value


def _as_number(text: str) -> str | float:
    # YAML 1.1 reads 1e-3 as text; people write learning rates that way.
    try:
        return float(text)
    except ValueError:
        return text
