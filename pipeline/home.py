"""Where a local installation keeps its state."""

from dataclasses import dataclass
from pathlib import Path

from slmrec.storage.client import is_remote


@dataclass(frozen=True)
class Home:
    """A folder, and what lies where in it."""

    path: Path
    elsewhere: str = ""
    """The registry's place, a path or `gs://BUCKET/PREFIX`, where it is not kept here."""

    @property
    def registry(self) -> str:
        """Where model versions and channels are: an absolute path or a `gs://` URI."""
        if is_remote(self.elsewhere):
            return self.elsewhere
        return str(Path(self.elsewhere or self.path / "registry").resolve())

    @property
    def artifacts(self) -> Path:
        """What steps wrote, a folder a run."""
        return self.path / "cache" / "artifacts"

    @property
    def task_cache(self) -> Path:
        """KFP's record of which task gave which artifacts."""
        return self.path / "cache" / "tasks"

    @property
    def library_cache(self) -> Path:
        """What libraries keep between containers: compiled code, fonts, checkpoints from a hub."""
        return self.path / "cache" / "libraries"

    @property
    def evidently(self) -> Path:
        """A workspace of Evidently with the reports of all runs."""
        return self.path / "evidently"

    @property
    def teacher_cache(self) -> Path:
        """Finished shards of the teacher cache, by what decides their content."""
        return self.path / "teacher-cache"

    @property
    def downloads(self) -> Path:
        """Where downloads that were stopped go on."""
        return self.path / "downloads"

    @property
    def checkpoints(self) -> Path:
        """Where trainings that were stopped go on from, a folder a code digest."""
        return self.path / "checkpoints"

    def run(self, run_id: str) -> Path:
        """What belongs to one run: log, events, the file as executed, the summary."""
        return self.path / "runs" / run_id
