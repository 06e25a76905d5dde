"""The page of all settings, from the sections in `slmrec.config`."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from docs.site.cells import MADE, document, table
from pipeline.paths import CONFIGS
from slmrec.config import PipelineConfig, Section

INTRODUCTION = """
A settings file is YAML whose keys are the steps below; what it leaves out has its default.
`--config FILE` names one, `--set STEP.KEY=VALUE` changes one setting and may be repeated. A key that
does not exist, a value out of its range, and settings that contradict each other are refused before
anything runs, with the field's name.
"""
WORDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}
BOUNDS = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
}


def page() -> str:
    """The whole page."""
    schema = PipelineConfig.model_json_schema()
    definitions = schema["$defs"]
    parts = ["# Settings", MADE, INTRODUCTION]
    for name, field in PipelineConfig.model_fields.items():
        parts.append(f"## {name}")
        if isinstance(field.default, Section):
            parts += _described(definitions, type(field.default).__name__)
        else:
            default = [one.model_dump(mode="json", exclude_unset=True) for one in field.default]
            text = yaml.safe_dump({name: default}, sort_keys=False, default_flow_style=None)
            kind = _kind(schema["properties"][name])
            parts += [f"{field.description} A {kind}. Default:", f"```yaml\n{text}```"]
    parts += ["## Sections inside steps"]
    for title, places in sorted(_inner(schema).items()):
        where = ", ".join(f"`{place}`" for place in places)
        parts += [f"### {title}", f"In {where}.", *_described(definitions, title)]
    parts += [
        "## Settings files",
        "What `run` takes when no `--config` is given: `sample.yaml` for the built-in sample, "
        "`default.yaml` for files.\nFor files `study depth`, `ablation` and `certificate` take "
        "`study.yaml`, `distillation` and `compression` `default.yaml`.\nAll are in "
        "`pipeline/configs/`.",
    ]
    for path in sorted(CONFIGS.glob("*.yaml")):
        parts += [f"### {path.name}", f"```yaml\n{path.read_text(encoding='utf-8')}```"]
    return document(parts)


def _described(definitions: dict[str, Any], title: str) -> list[str]:
    """What a section is, and its settings."""
    definition = definitions[title]
    required = definition.get("required", [])
    rows = [
        (
            f"`{name}`",
            _kind(field),
            "required" if name in required else _default(field),
            field.get("description") or _meant(definitions, field),
        )
        for name, field in definition["properties"].items()
    ]
    return [
        definition.get("description", ""),
        table(("setting", "value", "default", "what it does"), rows),
    ]


def _meant(definitions: dict[str, Any], field: dict[str, Any]) -> str:
    """What the section that a field holds is."""
    return " ".join(definitions[title].get("description", "") for title in _referred(field))


def _inner(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Where each section stands that is not a step of its own."""
    steps = {type(field.default).__name__ for field in PipelineConfig.model_fields.values()}
    found: dict[str, list[str]] = {}

    def walk(properties: dict[str, Any], above: str) -> None:
        for name, field in properties.items():
            for title in _referred(field):
                if title not in steps:
                    found.setdefault(title, []).append(above + name)
                walk(schema["$defs"][title].get("properties", {}), f"{above}{name}.")

    walk(schema["properties"], "")
    return found


def _referred(field: dict[str, Any]) -> Iterator[str]:
    """Names of the sections that a field holds."""
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2]
    for part in [*field.get("anyOf", []), *([field["items"]] if "items" in field else [])]:
        yield from _referred(part)


def _kind(field: dict[str, Any]) -> str:
    """What a field may be, in words."""
    if "$ref" in field:
        title = field["$ref"].rpartition("/")[2]
        return f"[{title}](#{title.lower()})"
    if "anyOf" in field:
        return " or ".join(map(_kind, field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field["type"] == "array":
        least = f", at least {field['minItems']}" if field.get("minItems") else ""
        return f"list of {_kind(field['items'])}{least}"
    bounds = [f"{sign} {field[key]}" for key, sign in BOUNDS.items() if key in field]
    if "pattern" in field:
        bounds.append(f"matches `{field['pattern']}`")
    if field.get("minLength"):
        bounds.append("not empty")
    return ", ".join([WORDS[field["type"]], *bounds])


def _default(field: dict[str, Any]) -> str:
    if "$ref" not in field:
        value = field["default"]
        return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"
    usual = _usual(field["$ref"].rpartition("/")[2])
    other = {key: value for key, value in field["default"].items() if usual.get(key) != value}
    if not other:
        return "its defaults"
    return (
        ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in other.items())
        + ", else its defaults"
    )


def _usual(title: str) -> dict[str, Any]:
    """The defaults of a section by its name."""
    (section,) = (one for one in _all_sections(Section) if one.__name__ == title)
    return section().model_dump(mode="json")


def _all_sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _all_sections(section)
