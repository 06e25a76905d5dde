"""Where things lie in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIPELINE_FILE = ROOT / "pipeline.yaml"
CONFIGS = ROOT / "pipeline" / "configs"
RESOURCES_FILE = ROOT / "pipeline" / "resources.yaml"
CODE = ("src", "components", "validation", "requirements.lock")
"""What decides what a step does; the digest over it is in every local cache key."""
