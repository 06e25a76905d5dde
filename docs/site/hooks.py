"""What MkDocs is told beside mkdocs.yml: texts of the whole repository are one site.

Every text is written for GitHub, where links lead from file to file. Here a link to a text becomes one
to its page, a link to a file of the library one to what its docstrings say, and of a link to any other
file the name stays. Pictures lie below docs/.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LIBRARY = ROOT / "src" / "slmrec"
API = "reference/api"
BESIDE = {
    "components": "steps/snapshot_source.md",
    "docs/decisions": "decisions/0001-one-compiled-file-run-by-kfp.md",
    "README.md": "overview.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "CODE_OF_CONDUCT.md": "project/conduct.md",
    **{
        f"components/{path.parent.name}/README.md": f"steps/{path.parent.name}.md"
        for path in sorted((ROOT / "components").glob("*/README.md"))
    },
}
"""Texts outside docs/, and folders, and the pages that they are."""
_FENCED = re.compile(r"(^ *```.*?\n *```[ ]*$)", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", flags=re.DOTALL)
_ITEM = re.compile(r"^ {0,3}(?:[-*+]|\d+[.)])\s")
_LOADED = re.compile(
    r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the texts outside docs/ and a page for each package of the library; spell out the nav."""
    for source, page in BESIDE.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for name, modules in _packages().items():
        package = "slmrec" if name == "slmrec" else f"slmrec.{name}"
        text = f"# {package}\n"
        for module in modules:
            untitled = "    options: {show_root_heading: false}\n" if module == package else ""
            text += f"\n::: {module}\n{untitled}"
        files.append(File.generated(config, f"{API}/{name}.md", content=text))
    if config.nav is not None:
        pages = sorted(file.src_uri for file in files.documentation_pages())
        config.nav = _spelled_out(config.nav, pages, set(_named(config.nav)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A text as this site needs it."""
    source = page.file.abs_src_path
    if source is None:
        return markdown
    parts = _FENCED.split(markdown)  # prose, block, prose, …
    for place in range(0, len(parts), 2):
        parts[place] = _spaced(_linked(parts[place], Path(source), page.file.src_uri))
    return "".join(parts)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would load anything from elsewhere."""
    found = _LOADED.search(output)
    if found and 'rel="canonical"' not in found[0]:
        raise PluginError(f"{page.file.src_uri}: loads from elsewhere: {found[0]}")
    return output


def _packages() -> dict[str, list[str]]:
    """Modules by the page that tells of them: the packages of the library, and what is in none."""
    pages: dict[str, list[str]] = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        inside = path.relative_to(LIBRARY).with_suffix("").parts
        if inside[-1] == "__main__":
            continue
        module = ".".join(("slmrec", *(part for part in inside if part != "__init__")))
        pages.setdefault(inside[0] if len(inside) > 1 else "slmrec", []).append(module)
    return {name: sorted(modules) for name, modules in pages.items()}


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inside = nav.values() if isinstance(nav, dict) else nav
    return [name for part in inside for name in _named(part)]


def _spelled_out(nav: Any, pages: list[str], named: set[str]) -> Any:
    """The nav with pages in place of every `FOLDER/*`."""
    if isinstance(nav, dict):
        return {title: _spelled_out(inside, pages, named) for title, inside in nav.items()}
    if not isinstance(nav, list):
        return nav
    spelled: list[Any] = []
    for part in nav:
        if not (isinstance(part, str) and part.endswith("/*")):
            spelled.append(_spelled_out(part, pages, named))
            continue
        deeper = [name[:-1] for name in named if name.endswith("/*") and len(name) > len(part)]
        spelled += [
            page
            for page in pages
            if page.startswith(part[:-1])
            and page not in named
            and not page.startswith(tuple(deeper))
        ]
    return spelled


def _spaced(prose: str) -> str:
    """Prose with an empty line before each list and table, which GitHub lets follow a text at once."""
    lines: list[str] = []
    listed = False
    for line in prose.split("\n"):
        begins = (_ITEM.match(line) and not listed) or line.startswith("|")
        before = lines[-1] if lines else ""
        if begins and before.strip() and not before.startswith(("|", "#")):
            lines.append("")
        listed = bool(_ITEM.match(line)) or (listed and (not line or line.startswith(" ")))
        lines.append(line)
    return "\n".join(lines)


def _linked(prose: str, source: Path, page: str) -> str:
    """Prose whose links lead to pages, code as it is."""
    codes = [match.span() for match in _CODE.finditer(prose)]

    def replaced(match: re.Match[str]) -> str:
        if any(start <= match.start() and match.end() <= end for start, end in codes):
            return match[0]
        picture, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        target = (source.parent / link).resolve()
        if not target.exists():
            return match[0]
        led = _page_of(target)
        if led is None:
            return match[0] if picture else text
        where, own_anchor = led
        way = posixpath.relpath(where, posixpath.dirname(page))
        return f"{picture}[{text}]({way}{anchor or own_anchor})"

    return _LINK.sub(replaced, prose)


def _page_of(target: Path) -> tuple[str, str] | None:
    """The page, or file of the site, that a file is, and where on it; None where it is none."""
    name = target.relative_to(ROOT).as_posix() if target.is_relative_to(ROOT) else ""
    if name in BESIDE:
        return BESIDE[name], ""
    if target.is_dir():
        pages = [target / page for page in ("README.md", "index.md") if (target / page).exists()]
        return _page_of(pages[0]) if pages else None
    if target.is_relative_to(LIBRARY) and target.suffix == ".py":
        inside = target.relative_to(LIBRARY).with_suffix("").parts
        folder = inside[0] if len(inside) > 1 else "slmrec"
        module = ".".join(("slmrec", *(part for part in inside if part != "__init__")))
        return f"{API}/{folder}.md", "" if inside[-1] == "__init__" else f"#{module}"
    if target.is_relative_to(DOCS) and not target.is_relative_to(DOCS / "site"):
        return target.relative_to(DOCS).as_posix(), ""
    return None
