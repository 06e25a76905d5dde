"""Image names, all from one version."""

from slmrec import __version__

PYTHON = f"slmrec-python:{__version__}"
"""The image that holds everything; a local run substitutes the tag by a digest of the code."""
