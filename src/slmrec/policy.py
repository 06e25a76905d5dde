"""Policy files: the YAML under `validation/` that says what is good enough, read strictly."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from slmrec.config import Section, explain
from slmrec.errors import ConfigError

Policy = TypeVar("Policy", bound=Section)


def load_policy(path: Path, policy: type[Policy]) -> Policy:
    """Read a policy file into its section.

    Raises `ConfigError` naming the file and field when the file is missing, is not YAML, lacks a
    field, or holds one that is unknown or out of range.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such policy file; name one of those in {path.parent}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    try:
        return policy.model_validate(loaded)
    except ValidationError as error:
        raise ConfigError(explain(policy, error, str(path))) from None
