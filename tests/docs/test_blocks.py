"""Blocks of code in texts: Python, shell and settings are what they look like."""

import ast
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.resources import Resources, load_resources
from slmrec.config import PipelineConfig
from slmrec.config_file import parse_config
from slmrec.errors import ConfigError
from slmrec.yaml_text import parse_yaml
from tests.docs.texts import EXECUTED, ROOT, TEXTS, blocks, code_in, names, text_of

PLACES = {"slmrec": ROOT / "src", "pipeline": ROOT, "components": ROOT, "tests": ROOT}
"""Where our own packages lie."""
A_FILE = re.compile(r"\b(?:src/)?((?:slmrec|pipeline|components|tests)/[\w/]+)\.py\b")


@cache
def defined(module: str) -> frozenset[str] | None:
    """Names that a module of ours defines, found without importing it; None where there is none."""
    place = PLACES[module.partition(".")[0]] / module.replace(".", "/")
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    inside = {path.stem for path in place.iterdir()} if place.is_dir() else set()
    if not file.exists():
        return frozenset(inside) if place.is_dir() else None
    return frozenset(inside | set(_assigned(ast.parse(file.read_text(encoding="utf-8")).body)))


def _assigned(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (
                one.id
                for target in targets
                for one in ast.walk(target)
                if isinstance(one, ast.Name)
            )
        elif isinstance(node, ast.If | ast.Try):
            yield from _assigned(node.body)


def unresolved(code: str, made: frozenset[str] = frozenset()) -> list[str]:
    """What code imports and is not there; `made` are modules that the text lets its reader write."""
    missing = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            package = module.partition(".")[0]
            if module in made:
                continue
            if package not in PLACES:
                there = importlib.util.find_spec(package) is not None
            else:
                found = defined(module)
                there = found is not None and name in {"", *found}
            if not there:
                missing.append(f"{module}.{name}".rstrip("."))
    return missing


def of_python() -> list[Path]:
    """Those of the worked examples are lines of diffs, which their own test applies and runs."""
    found = [path for path in TEXTS if code_in(path, "python")]
    return [path for path in found if path.parent.name != "extending"]


@pytest.mark.parametrize("path", of_python(), ids=names)
def test_python_in_a_text_is_python_and_its_imports_are_there(path: Path):
    written = {name.replace("/", ".") for name in A_FILE.findall(text_of(path))}
    made = frozenset(name for name in written if defined(name) is None)

    for code in code_in(path, "python"):
        assert unresolved(code, made) == []


def test_an_import_that_is_not_there_is_noticed():
    code = "import slmrec.gone\nfrom slmrec.config import Training, Gone\nimport no_such_package\n"

    assert unresolved(code) == ["slmrec.gone", "slmrec.config.Gone", "no_such_package"]
    assert unresolved("from components.new.step import x", frozenset({"components.new.step"})) == []


@pytest.mark.parametrize("path", [path for path in TEXTS if code_in(path, "bash")], ids=names)
def test_shell_in_a_text_is_what_bash_reads(path: Path):
    checked = subprocess.run(
        ["bash", "-n"], input="\n".join(code_in(path, "bash")), text=True, capture_output=True
    )

    assert checked.returncode == 0, checked.stderr


def settings_in(path: Path) -> list[dict[str, Any]]:
    """The blocks of a text that are settings files: their keys are steps."""
    found = []
    for code in code_in(path, "yaml", "yml", ""):
        try:
            document = yaml.safe_load(code)
        except yaml.YAMLError:
            continue
        if isinstance(document, dict) and {*document} & {*PipelineConfig.model_fields}:
            parse_yaml(code, names(path))
            found.append(document)
    return found


def complaint(document: dict[str, Any], source: str) -> str:
    """What the loader of settings, or that of resources, says against a document."""
    try:
        if any(isinstance(one, dict) and "cpu" in one for one in document.values()):
            usual = load_resources().model_dump(mode="json")
            Resources.model_validate({**usual, **document})
        else:
            parse_config(document, source)
    except (ConfigError, ValueError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", [path for path in TEXTS if settings_in(path)], ids=names)
def test_settings_in_a_text_are_accepted(path: Path):
    for document in settings_in(path):
        assert complaint(document, names(path)) == ""


def test_settings_that_are_refused_are_noticed():
    assert "did you mean 'layers'" in complaint({"train_teacher": {"layer": 4}}, "x")
    assert complaint({"train_teacher": {"layers": 4}}, "x") == ""
    assert "memory_gb" in complaint({"train_teacher": {"cpu": 2, "memory_gb": -1}}, "x")


@pytest.mark.parametrize("path", TEXTS, ids=names)
def test_the_mark_of_an_executed_block_stands_before_one(path: Path):
    marked = [block for block in blocks(path) if block.executed]

    assert len(marked) == sum(line.strip() == EXECUTED for line in text_of(path).splitlines())
    assert {block.language for block in marked} <= {"bash", "python"}
