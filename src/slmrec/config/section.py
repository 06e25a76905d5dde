"""What every section of the configuration is: frozen, typed, and plain about what is wrong."""

import difflib
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from slmrec.artifacts import canonical_json
from slmrec.errors import ConfigError

_SHOWN = 200
"""Characters of a value in a message."""
_PROBLEMS = 20
"""Problems that a message tells."""
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Length = Annotated[int, Field(ge=3, le=10_000)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Device = Literal["auto", "cpu", "cuda"]
"""Where to compute; `auto` is a GPU where torch finds one."""


class Section(BaseModel):
    """Base of every configuration section: frozen, and no key it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    def to_json(self) -> str:
        """The section as canonical JSON: the same settings give the same text."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `to_json` wrote. Raises `ConfigError` naming the field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(explain(cls, error, source="step configuration")) from None


def check_heads(width: int, heads: int, section: str = "") -> None:
    """Check that attention heads divide a width evenly. Raises `ValueError`."""
    if width % heads or (width // heads) % 2:
        raise ValueError(
            f"{section}heads is {heads} and width is {width}; expected heads to divide width into even "
            "parts"
        )


def explain(model: type[BaseModel], error: ValidationError, source: str) -> str:
    """A line for each problem: source, field, what was found and what is allowed."""
    lines = []
    problems = error.errors(include_url=False)
    for problem in problems[:_PROBLEMS]:
        location = [str(part)[:_SHOWN] for part in problem["loc"]]
        path = ".".join(location) or "(whole configuration)"
        if problem["type"] == "extra_forbidden":
            allowed = _allowed_keys(model, location[:-1])
            close = difflib.get_close_matches(location[-1], allowed, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            lines.append(f"{path}: unknown key; {hint}allowed here: {', '.join(allowed)}")
        elif problem["type"] == "value_error":
            lines.append(f"{path}: {problem['ctx']['error']}")
        else:
            lines.append(f"{path}: found {_shown(problem['input'])}; {problem['msg'].lower()}")
    if len(problems) > _PROBLEMS:
        lines.append(f"and {len(problems) - _PROBLEMS:,} problems more")
    return f"{source}: " + f"\n{source}: ".join(lines)


def _shown(value: Any) -> str:
    """A value as a message may hold it, however long it is."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _allowed_keys(model: type[BaseModel], location: list[str]) -> list[str]:
    current: Any = model
    for name in location:
        if isinstance(current, type) and issubclass(current, RootModel):  # sections by name
            current = get_args(current.model_fields["root"].annotation)[-1]
        elif name.isdigit():  # a place in a list
            continue
        elif isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(name)
            current = _section(field.annotation) if field else None
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _section(annotation: Any) -> Any:
    """The section itself where it is optional or in a list."""
    return next((part for part in get_args(annotation) if part is not type(None)), annotation)
