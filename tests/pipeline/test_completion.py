"""The script `slmrec`: the command line under a name that shells can complete."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.paths import ROOT

SCRIPT = ROOT / "slmrec"


def called(*arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [SCRIPT, *arguments],
        cwd=cwd,
        env={**os.environ, "SLMREC_PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_shell_completes_verbs_and_options():
    def completed(words: str) -> list[str]:
        number = len(words.split(" ")) - 1
        asked = {"_SLMREC_COMPLETE": "complete_bash", "COMP_CWORD": str(number)}
        return called(COMP_WORDS=words, **asked).split()

    assert completed("slmrec reg") == ["registry"]
    assert completed("slmrec registry roll") == ["rollback"]
    assert completed("slmrec run --inter") == ["--interactions"]


def test_it_runs_from_any_folder(tmp_path: Path):
    (tmp_path / "pipeline.py").write_text("raise SystemExit('another pipeline')", encoding="utf-8")
    assert "ml-latest-small" in called("datasets", "list", cwd=tmp_path)


def test_completion_is_offered_under_the_name_that_a_shell_can_complete():
    assert "--install-completion" in called("--help")
    module = [sys.executable, "-m", "pipeline", "--help"]
    shown = subprocess.run(module, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--install-completion" not in shown
