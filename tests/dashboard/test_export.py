"""The dashboard as files."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from slmrec.dashboard.export import export
from slmrec.dashboard.records import Records
from slmrec.errors import ConfigError
from slmrec.registry.store import Registry
from tests.dashboard.homes import NOW, PAYLOADS, make_home


def test_every_link_of_the_export_leads_to_a_file(tmp_path: Path) -> None:
    registry = make_home(tmp_path / "home", PAYLOADS)
    out = tmp_path / "out"
    written = export(Records(tmp_path / "home", registry, lambda: NOW), out)
    pages = [path for path in out.rglob("*.html") if "reports" not in path.parts]
    assert written == len(pages)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<form" not in text
        assert (out / "api" / page.relative_to(out)).with_suffix(".json").is_file()
        for link in re.findall(r'(?:href|src)="([^"#]+)"', text):
            if not link.startswith("data:"):
                assert (page.parent / link).is_file(), (page, link)
    assert not [path for path in out.rglob("*") if "evidently" in path.name]


def test_every_run_s_drift_is_exported_when_there_are_many(tmp_path: Path) -> None:
    registry = make_home(tmp_path / "home", runs=62)
    export(Records(tmp_path / "home", registry, lambda: NOW), tmp_path / "out")
    drifts = [*(tmp_path / "out" / "runs").glob("*/drift.html")]
    assert len(drifts) == 62


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ConfigError, match="name a new folder"):
        export(Records(tmp_path, Registry(tmp_path / "r"), lambda: NOW), tmp_path / "out")


def test_the_command_writes_an_export(tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    command = ["dashboard", "--home", str(tmp_path / "home"), "--export", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert (tmp_path / "out" / "index.html").is_file()


def test_the_command_refuses_to_listen_to_strangers_without_a_login(tmp_path: Path) -> None:
    command = ["dashboard", "--home", str(tmp_path), "--host", "0.0.0.0"]
    result = CliRunner().invoke(app, command, env={"SLMREC_DASHBOARD_TOKEN": ""})
    assert isinstance(result.exception, ConfigError)
    assert result.exception.exit_code == 2
