"""Files that GitHub and others read: forms, hooks, the citation."""

import re
from pathlib import Path

import pytest
import yaml

from tests.docs.texts import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def loaded(path: Path) -> dict[str, object]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_has_what_github_asks_of_one(path: Path):
    form = loaded(path)
    asked = [part for part in form["body"] if part["type"] != "markdown"]

    assert form["name"]
    assert form["description"]
    assert {part["type"] for part in form["body"]} <= KINDS
    assert len({part["id"] for part in asked}) == len(asked) > 0
    assert all(part["attributes"]["label"] for part in asked)
    assert all(
        part["attributes"]["options"]
        for part in asked
        if part["type"] in ("dropdown", "checkboxes")
    )


def test_the_hooks_run_what_make_check_runs():
    (recipe,) = re.findall(
        r"^check: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    (local,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]

    assert [hook["entry"] for hook in local["hooks"]] == commands
    assert all(hook["pass_filenames"] is False for hook in local["hooks"])


def test_the_citation_names_the_software_its_licence_and_the_paper():
    citation = loaded(ROOT / "CITATION.cff")
    (paper,) = citation["references"]
    licence = re.search(r'^license = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert (citation["type"], citation["title"]) == ("software", "slmrec")
    assert licence is not None
    assert citation["license"] == licence[1]
    assert "2405.17890" in paper["url"]
    assert paper["authors"][0]["family-names"] == "Xu"
