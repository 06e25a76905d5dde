"""Policy files: YAML that says what is good enough, or allowed, read strictly."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from slmrec.config import explain
from slmrec.errors import ConfigError
from slmrec.yaml_text import read_yaml

Policy = TypeVar("Policy", bound=BaseModel)


def load_policy(path: Path, policy: type[Policy]) -> Policy:
    """Read a policy file into its model.

    Raises `ConfigError` naming the file and field when the file is missing, is not YAML, lacks a
    field, or holds one that is unknown or out of range.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such policy file; name one of those in {path.parent}")
    loaded = read_yaml(path, "policy file")
    try:
        return policy.model_validate(loaded)
    except ValidationError as error:
        raise ConfigError(explain(policy, error, str(path))) from None
