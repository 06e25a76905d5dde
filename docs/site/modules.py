"""The page of all modules of the library; the site has what is in them, from their docstrings."""

import ast
from pathlib import Path

from docs.site.cells import MADE, document, table
from pipeline.paths import ROOT

INTRODUCTION = """
The library, module by module: a name leads to the file, and on the site to what is in it, signatures
and docstrings. What a module gives may be used from Python; names that begin with an underscore are
its own affair and change without a word.
"""
EXAMPLE = """
What serves, from Python:

<!-- executed -->
```python
from slmrec.registry.store import Registry

production = Registry("var/registry").production()
if production is not None:
    seen = production.data.interactions
    print(f"version {production.number}, {production.name}, of {seen:,} interactions")
```
"""
LIBRARY = ROOT / "src" / "slmrec"


def page() -> str:
    """The whole page."""
    parts = ["# Library", MADE, INTRODUCTION, EXAMPLE]
    folders = [
        LIBRARY,
        *sorted(path for path in LIBRARY.iterdir() if (path / "__init__.py").exists()),
    ]
    for folder in folders:
        inside = folder.glob("*.py") if folder == LIBRARY else folder.rglob("*.py")
        files = sorted(path for path in inside if path.stem not in ("__init__", "__main__"))
        rows = [
            (f"[`{_name(path)}`](../../{path.relative_to(ROOT)})", _first(path)) for path in files
        ]
        parts += [
            f"## {_name(folder)}",
            _first(folder / "__init__.py"),
            table(("module", "what it is"), rows),
        ]
    return document(parts)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)


def _first(path: Path) -> str:
    """The first paragraph of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())
