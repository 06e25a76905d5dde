"""What every component folder must look like, read from its source."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "components").glob("*/component.py"))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def function(path: Path, name: str) -> ast.FunctionDef:
    found = [n for n in parse(path).body if isinstance(n, ast.FunctionDef) and n.name == name]
    assert len(found) == 1, f"{path} defines {name} {len(found)} times"
    return found[0]


def test_every_step_of_the_dag_has_a_folder() -> None:
    source = (ROOT / "pipeline" / "dag.py").read_text(encoding="utf-8")
    imported = re.findall(r"from components\.(\w+)\.component import \1", source)
    assert sorted(imported) == [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
class TestComponent:
    def test_folder_holds_ports_step_and_readme(self, folder: Path) -> None:
        assert {"__init__.py", "component.py", "step.py", "README.md"} <= {
            path.name for path in folder.iterdir()
        }

    def test_body_is_one_import_of_its_own_step_and_little_else(self, folder: Path) -> None:
        body = function(folder / "component.py", folder.name).body[1:]  # after the docstring
        imports = [node for node in body if isinstance(node, ast.ImportFrom)]
        assert [(node.module, node.names[0].name) for node in imports] == [
            (f"components.{folder.name}.step", "run")
        ]
        assert len(body) <= 4

    def test_nothing_is_installed_when_the_task_starts(self, folder: Path) -> None:
        decorator = function(folder / "component.py", folder.name).decorator_list[0]
        assert isinstance(decorator, ast.Call)
        settings = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
        assert settings == {"base_image": "images.PYTHON", "install_kfp_package": "False"}

    def test_step_knows_nothing_of_kfp_nor_of_other_components(self, folder: Path) -> None:
        for node in ast.walk(parse(folder / "step.py")):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                assert name.split(".")[0] != "kfp"
                assert not name.startswith("components.") or name == "components.runtime"

    def test_outputs_of_the_step_are_the_output_ports(self, folder: Path) -> None:
        ports = function(folder / "component.py", folder.name).args.args
        written = [a.arg for a in ports if "Output[" in ast.unparse(a.annotation)]
        decorator = function(folder / "step.py", "run").decorator_list[0]
        assert isinstance(decorator, ast.Call)
        named = {k.arg: ast.literal_eval(k.value) for k in decorator.keywords}
        assert sorted(named.get("outputs", ())) == sorted(written)
        arguments = [a.arg for a in function(folder / "step.py", "run").args.args]
        assert set(written) <= set(arguments)
