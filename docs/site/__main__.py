"""`python -m docs.site [--check]`: write what of docs/ comes from the code: reference and picture."""

import argparse
import sys
from pathlib import Path

from docs.site import command_line, modules, picture, settings

DOCS = Path(__file__).resolve().parents[1]
FOLDER = DOCS / "reference"
RENEW = "make reference"


def pages() -> dict[Path, str]:
    """Each generated page as it has to be now."""
    return {
        FOLDER / "configuration.md": settings.page(),
        FOLDER / "command-line.md": command_line.page(),
        FOLDER / "api.md": modules.page(),
        DOCS / "images" / "dag.svg": picture.picture(),
    }


def stale() -> list[str]:
    """Names of the pages that are not what the code says."""
    return [
        path.name
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write the pages, or only say whether they are fresh."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when one is stale"
    )
    if not parser.parse_args().check:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
        return
    found = stale()
    if found:
        sys.exit(f"docs: stale: {', '.join(found)}; run '{RENEW}' and commit the result")


if __name__ == "__main__":
    main()
