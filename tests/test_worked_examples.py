"""Worked examples in `docs/guides/extending`: each diff fits the tree, its tests pass in a copy."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from slmrec.config_file import parse_config
from tests.command_lines import commands_in

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "guides" / "extending"
COPIED = (
    *("components", "pipeline", "src", "tests", "validation"),
    *("docs/images", "docs/reference", "docs/site"),
    *("pipeline.yaml", "pyproject.toml", "requirements.lock"),
)
"""All that the diffs change, and that their tests and what is made from the code read."""
COMPILED = "pipeline.yaml"
SETTINGS, MODULES = "docs/reference/configuration.md", "docs/reference/api.md"
PICTURE = "docs/images/dag.svg"
"""Files that are made from the code, and so in no diff."""
OURS = ("components", "pipeline", "slmrec", "tests")
DO = f"""
import json, sys
from pathlib import Path
import pytest
asked = json.loads(sys.argv[1])
if asked["compile"]:
    from pipeline.cli import app
    app(["compile"], standalone_mode=False)
from docs.site.__main__ import main
from slmrec.config_file import load_config
sys.argv = ["docs.site"]
main()
load_config(Path("pipeline/configs/sample.yaml"), asked["settings"])
code = pytest.main(asked["tests"])
loaded = [m for name, m in list(sys.modules.items()) if name.split(".")[0] in {OURS}]
print(json.dumps(sorted(filter(None, (getattr(m, "__file__", None) for m in loaded)))))
sys.exit(code)
"""
"""All that an example's page says to do, in one process, which takes longer to start than to do it."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([^` ]+)` \|", flags=re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """What an example promises to touch beside tests, and what has to hold in the copy."""

    touches: frozenset[str]
    checks: tuple[str, ...] = ()
    """Tests that are there already and that the change has to pass."""
    made: Mapping[str, str] = field(default_factory=dict)
    """Files that have to be made anew, and what is new in them."""


STEP = "components/export_embeddings"
EXAMPLES = {
    "loss": Example(
        frozenset(
            {
                "src/slmrec/config/student.py",
                "src/slmrec/distillation/losses.py",
                "src/slmrec/distillation/distill.py",
                "components/distill_student/README.md",
            }
        ),
        made={COMPILED: '"margin":0.0', SETTINGS: "| `margin` |"},
    ),
    "metric": Example(
        frozenset({"src/slmrec/evaluation/metrics.py"}),
        made={MODULES: "MRR and RBP"},
    ),
    "step": Example(
        frozenset(
            {
                *(f"{STEP}/{name}.py" for name in ("__init__", "component", "step")),
                f"{STEP}/README.md",
                "pipeline/dag.py",
                *(f"src/slmrec/config/{name}.py" for name in ("__init__", "pipeline", "student")),
                "pipeline/resources.yaml",
            }
        ),
        checks=(
            "tests/components/test_architecture.py",
            "tests/pipeline/test_compile.py::test_every_task_has_the_limits_of_its_step_and_is_"
            "begun_again_only_where_that_is_harmless",
        ),
        made={
            COMPILED: "exec-export-embeddings:",
            SETTINGS: "## export_embeddings",
            PICTURE: "export_embeddings",
        },
    ),
    "variant": Example(
        frozenset(
            {
                "src/slmrec/config/student.py",
                "src/slmrec/compress/storage.py",
                "src/slmrec/compress/matrices.py",
                "components/quantize_student/README.md",
            }
        ),
        made={SETTINGS: "`float16`"},
    ),
}
MOST_FILES_OF_A_LOSS = 4


@dataclass
class Hunk:
    """A place in a file as it is after the change."""

    first: int
    """Number of its first line, from 1."""
    lines: list[str] = field(default_factory=list)
    added: set[int] = field(default_factory=set)
    """Positions in `lines` of those that are new."""


def diff_of(name: str) -> Path:
    return PAGES / "examples" / f"{name}.diff"


def page_of(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page_of(name)) if kind == language]


def settings_of(name: str) -> list[str]:
    """What the commands of a page set."""
    commands = [words for code in blocks(name, "bash") for words in commands_in(code)]
    return [value for words in commands for key, value in pairwise(words) if key == "--set"]


def hunks(name: str) -> dict[str, list[Hunk]]:
    """The hunks of a diff by the file that they change."""
    found: dict[str, list[Hunk]] = {}
    path = ""
    for line in diff_of(name).read_text(encoding="utf-8").splitlines():
        if line.startswith("diff --git "):
            path = line.split(" b/")[1]
            found[path] = []
        elif line.startswith("@@"):
            place = re.search(r"\+(\d+)", line)
            assert place is not None
            found[path].append(Hunk(int(place[1])))
        elif found[path] and not line.startswith(("-", "\\")):
            hunk = found[path][-1]
            if line.startswith("+"):
                hunk.added.add(len(hunk.lines))
            hunk.lines.append(line[1:])
    return found


def changed_tests(name: str, copy: Path) -> Iterator[str]:
    """Node ids of the tests with a line that the diff adds."""
    for path, changes in hunks(name).items():
        if not path.startswith("tests/"):
            continue
        added = {hunk.first + place for hunk in changes for place in hunk.added}
        for node in ast.parse((copy / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert node.end_lineno is not None
                if added & set(range(node.lineno, node.end_lineno + 1)):
                    yield f"{path}::{node.name}"


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """The tree as it is, what is not committed too, where it may be changed."""
    to = tmp_path / "copy"
    # Bytecode comes along, Python checks it against its source; files that others are writing do not.
    ignored = shutil.ignore_patterns("*.egg-info", "*.pyc.*", "*.nbi*", "*.nbc*")
    to.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, to / name)
    yield to
    shutil.rmtree(to)


def apply(name: str, copy: Path) -> None:
    done = in_copy(copy, "git", "apply", str(diff_of(name)))
    if done.returncode:
        pytest.fail(
            f"docs/guides/extending/examples/{name}.diff no longer fits the tree:\n{done.stderr}\n"
            "Refresh it on a clean tree: 'git apply --3way' it, mend what conflicts, write it anew "
            "with 'git diff' without what is made; docs/guides/extending/README.md has the commands.",
            pytrace=False,
        )


def in_copy(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PYTEST_"))}
    own = {
        "GIT_CEILING_DIRECTORIES": str(copy.parent),  # the copy may lie inside of a repository
        "NUMBA_DISABLE_JIT": "1",  # compiling costs more than these few rows
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join((str(copy / "src"), str(copy))),
    }
    return subprocess.run(command, cwd=copy, env=inherited | own, text=True, capture_output=True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_its_tests_when_it_is_applied_to_a_copy(
    name: str, copy: Path, tmp_path: Path
):
    example = EXAMPLES[name]
    apply(name, copy)
    for file, new in example.made.items():
        assert new not in (copy / file).read_text(encoding="utf-8")
    own = list(changed_tests(name, copy))
    assert own
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "inner")]
    asked = {
        "compile": COMPILED in example.made,
        "settings": settings_of(name),
        "tests": [*options, *own, *example.checks],
    }

    done = in_copy(copy, sys.executable, "-c", DO, json.dumps(asked))

    assert done.returncode == 0, done.stdout + done.stderr
    for file, new in example.made.items():
        assert new in (copy / file).read_text(encoding="utf-8")
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert str(copy / "src" / "slmrec" / "__init__.py") in loaded
    assert [path for path in loaded if not Path(path).is_relative_to(copy)] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_touches_what_it_promises_and_brings_tests(name: str):
    touched = set(hunks(name))
    tests = {path for path in touched if path.startswith("tests/")}
    assert touched - tests == EXAMPLES[name].touches
    assert tests


def test_a_loss_touches_few_files():
    assert len(EXAMPLES["loss"].touches) <= MOST_FILES_OF_A_LOSS


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_tells_of_every_file(name: str):
    assert sorted(ROW.findall(page_of(name))) == sorted([*hunks(name), *EXAMPLES[name].made])


@pytest.mark.parametrize("name", EXAMPLES)
def test_code_on_the_page_is_part_of_the_diff(name: str):
    shown = blocks(name, "python")
    assert shown
    for block in shown:
        wanted = textwrap.dedent(block).splitlines()
        assert any(
            textwrap.dedent("\n".join(hunk.lines[start : start + len(wanted)])).splitlines()
            == wanted
            and hunk.added & set(range(start, start + len(wanted)))
            for changes in hunks(name).values()
            for hunk in changes
            for start in range(len(hunk.lines))
        ), block


def test_the_variants_of_the_page_can_be_made():
    (text,) = blocks("variant", "yaml")
    sample = (ROOT / "pipeline" / "configs" / "sample.yaml").read_text(encoding="utf-8")
    config = parse_config(yaml.safe_load(sample + text), source="variant.md")
    assert [variant.name for variant in config.variants] == ["float32", "int8", "half-int4"]


def test_a_diff_that_no_longer_fits_is_named_with_what_to_do(tmp_path: Path):
    (tmp_path / "copy").mkdir()
    with pytest.raises(pytest.fail.Exception, match=r"loss\.diff no longer fits .*(?s:.)*--3way"):
        apply("loss", tmp_path / "copy")
