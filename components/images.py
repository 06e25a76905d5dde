"""Image names: those that a release has pinned, else one name from one version."""

import json
import re
from pathlib import Path

from slmrec import __version__

LOCAL = f"slmrec-python:{__version__}"
"""What images of this code are called where they are built; a digest of the code follows."""
PINS = Path(__file__).with_name("images.json")
"""What `python -m pipeline release` pinned: references by digest, and the code that they hold."""
PINNED: dict[str, str] = json.loads(PINS.read_text(encoding="utf-8"))
PYTHON = PINNED["cpu"] or LOCAL
"""The image that holds everything; a local run substitutes it by a name with a digest of the code."""
GPU = PINNED["gpu"] or f"{LOCAL}-gpu"
"""The same with CUDA, for the steps that have accelerators."""


def with_image(compiled: str, image: str) -> str:
    """A compiled pipeline all of whose steps run in one image."""
    # In one pass, the longer name first: GPU may begin with PYTHON, and so may what is put there.
    names = "|".join(re.escape(name) for name in sorted((GPU, PYTHON), key=len, reverse=True))
    return re.sub(names, lambda _: image, compiled)
