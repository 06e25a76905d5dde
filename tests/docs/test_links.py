"""Texts: what they lead to is there."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.texts import ROOT, TEXTS, anchors, links, names


def broken(path: Path, link: str) -> bool:
    where, _, anchor = unquote(link).partition("#")
    target = (path.parent / where).resolve() if where else path
    if not target.exists() or not target.is_relative_to(ROOT):
        return True
    if not anchor or target.suffix == ".py":
        return False
    page = target / "README.md" if target.is_dir() else target
    return anchor not in anchors(page)


@pytest.mark.parametrize("path", TEXTS, ids=names)
def test_every_link_of_a_text_leads_somewhere(path: Path):
    assert [link for link in links(path) if broken(path, link)] == []


def test_anchors_are_those_of_github(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two_three`, [four](x.md)!\n\n## Again\n```\n# no heading\n```\n## Again\n### Über – 5\n"
    )

    assert anchors(page) == {"one-two_three-four", "again", "again-1", "über--5"}


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md) ![b](<c.svg>) [d](https://e.org) `[f](g.md)`\n\n[h]: i.md#j\n")

    assert links(page) == ["gone.md", "c.svg", "i.md#j"]
    assert broken(ROOT / "README.md", "docs/gone.md")
    assert broken(ROOT / "README.md", "#gone")
    assert broken(ROOT / "README.md", "../")
    assert not broken(ROOT / "README.md", "docs/results/README.md#measured-results")
