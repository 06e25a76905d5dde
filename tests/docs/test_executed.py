"""Blocks that are marked as executed: they run, in the order of their page, and end well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.dashboard.homes import make_home
from tests.docs.texts import ROOT, TEXTS, Block, blocks, names

RATINGS = "user_id,item_id,timestamp,rating\n" + "".join(
    f"{user},{(user + step) % 12 + 1},{1_700_000_000 + 86_400 * step + user},5\n"
    for user in range(60)
    for step in range(9)
)
ITEMS = "item_id,title\n" + "".join(f"{item},Item {item}\n" for item in range(1, 13))
MARKED = [path for path in TEXTS if any(block.executed for block in blocks(path))]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What a reader has: `.venv`, a home of two runs and three versions, a log, a key."""
    make_home(tmp_path / "var")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "ratings.csv").write_text(RATINGS, encoding="utf-8")
    (tmp_path / "movies.csv").write_text(ITEMS, encoding="utf-8")
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "signing.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return tmp_path


def script(marked: list[Block]) -> str:
    """The blocks of a page as one script, so that what one sets the next one has."""
    parts = [
        f"python - <<'END OF BLOCK'\n{block.code}END OF BLOCK\n"
        if block.language == "python"
        else block.code
        for block in marked
    ]
    return "\n".join(parts)


def run(text: str, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-euxo", "pipefail", "-c", text],
        cwd=place,
        env={
            "HOME": str(place),
            "PATH": f"{place / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "USER": "reader",
            "LANG": "C.UTF-8",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("path", MARKED, ids=names)
def test_what_a_page_says_to_do_can_be_done(path: Path, place: Path):
    ran = run(script([block for block in blocks(path) if block.executed]), place)

    assert ran.returncode == 0, ran.stderr[-3000:]


def test_a_block_that_fails_is_noticed(place: Path):
    fails = Block("bash", "cat ratings.csv | head -1\nfalse | true\n", executed=True)

    assert run(script([fails]), place).returncode == 1


def test_what_one_block_leaves_the_next_one_has(place: Path):
    first = Block("bash", "export WORD=left\n", executed=True)
    second = Block("python", "import os\nassert os.environ['WORD'] == 'left'\n", executed=True)

    assert run(script([first, second]), place).returncode == 0
