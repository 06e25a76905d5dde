"""Pages that are made from the code: they are what the code says."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.site import __main__ as reference
from docs.site import command_line, settings
from slmrec.config import PipelineConfig
from tests.command_lines import COMMAND_LINE
from tests.docs.texts import ROOT


def test_the_reference_is_fresh():
    assert reference.stale() == [], f"run '{reference.RENEW}' and commit the result"


def test_a_stale_page_is_told_with_what_renews_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, two = tmp_path / "one.md", tmp_path / "two.md"
    monkeypatch.setattr(reference, "pages", lambda: {one: "1\n", two: "2\n"})
    monkeypatch.setattr(sys, "argv", ["python -m docs.site"])
    reference.main()
    two.write_text("3\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["python -m docs.site", "--check"])

    with pytest.raises(SystemExit, match=r"stale: two\.md; run 'make reference'"):
        reference.main()
    assert two.read_text(encoding="utf-8") == "3\n"


def test_every_setting_is_on_the_page_of_settings():
    page = settings.page()
    schema = PipelineConfig.model_json_schema()

    for name in PipelineConfig.model_fields:
        assert f"\n## {name}\n" in page
    for section in schema["$defs"].values():
        for name, field in section["properties"].items():
            (row, *_) = (
                line
                for line in page.splitlines()
                if line.startswith(f"| `{name}` |")
                and " ".join(field.get("description", "").split()).replace("|", "\\|") in line
            )
            assert f"≥ {field['minimum']}" in row if "minimum" in field else True


def test_a_default_that_a_step_has_of_its_own_is_told_there():
    (row,) = (
        line
        for line in settings.page().splitlines()
        if line.startswith("| `training` |") and "`learning_rate: 0.001`" in line
    )

    assert "[Training](#training)" in row


def test_every_verb_has_a_heading_its_options_and_an_example():
    page = command_line.page()

    def walk(command: object, words: list[str]) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, [*words, name])
            return
        section = page.partition(f"{'#' * (1 + len(words))} {' '.join(words)}\n")[2]
        section = section.partition("\n## ")[0].partition("\n### ")[0]
        assert f"\n```bash\npython -m pipeline {' '.join(words)}" in section, words
        for parameter in command.params:  # type: ignore[attr-defined]
            assert parameter.opts[0] in section, (words, parameter.opts)

    walk(COMMAND_LINE, [])


def test_the_site_is_strict_and_names_nothing_from_elsewhere():
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)

    assert config["theme"]["font"] is False
    assert config["strict"] is True
    assert not any(
        str(one).startswith("http")
        for key in ("extra_css", "extra_javascript")
        for one in config.get(key, [])
    )


def test_what_builds_the_site_is_pinned_and_names_no_index():
    lines = (ROOT / "docs/site/requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]

    assert packages
    assert [line for line in packages if line.count("==") != 1 or line.startswith("-")] == []


def test_making_the_reference_loads_nothing_heavy():
    script = "import sys, docs.site.__main__; sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
