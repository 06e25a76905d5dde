"""Load sequences and teacher, write one shard of the cache."""

import os
from pathlib import Path
from typing import Any

from components.runtime import TEACHER_CACHE_VARIABLE, step
from slmrec.artifacts import open_artifact
from slmrec.config import CacheTeacher
from slmrec.data.sequences import load_sequences
from slmrec.distillation.shard_store import ShardStore
from slmrec.distillation.stored_teacher import open_teacher
from slmrec.distillation.write_cache import write_shard
from slmrec.progress import Progress
from slmrec.training.device import choose_device


@step("cache_teacher", outputs=("cache",), label="shard")
def run(
    progress: Progress, sequences: str, teacher: str, shard: str, config: str, cache: str
) -> dict[str, Any]:
    """Write the shard `NUMBER/COUNT` of the teacher cache to a path."""
    settings = CacheTeacher.from_json(config)
    data = load_sequences(sequences)
    stored = open_artifact(teacher, "teacher")
    assert data.artifact is not None
    folder = os.environ.get(TEACHER_CACHE_VARIABLE)
    written = write_shard(
        cache,
        open_teacher(stored, data, choose_device(settings.device, "cache_teacher.device")),
        data,
        shard,
        settings,
        {"sequences": data.artifact, "teacher": stored},
        progress,
        ShardStore(Path(folder)) if folder else None,
    )
    saved = written.artifact
    positions = saved.properties["positions"]
    size = sum(path.stat().st_size for path in saved.path.iterdir())
    known = " · known from an earlier run" if written.reused else ""
    return {
        "digest": saved.digest,
        "headline": f"{positions:,} positions · {size / 2**20:.1f} MiB{known}",
        "positions": positions,
        "bytes": size,
        "reused": written.reused,
    }
