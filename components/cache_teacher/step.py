"""Load sequences and teacher, write one shard of the cache."""

import os
import shutil
from pathlib import Path
from typing import Any

from components.runtime import step
from slmrec.artifacts import open_artifact
from slmrec.config import CacheTeacher
from slmrec.data.sequences import load_sequences
from slmrec.distillation.cache import require_space, write_shard
from slmrec.models.checkpoint import load_decoder
from slmrec.progress import Progress


@step("cache_teacher", outputs=("cache",), label="shard")
def run(
    progress: Progress, sequences: str, teacher: str, shard: str, config: str, cache: str
) -> dict[str, Any]:
    """Write the shard `NUMBER/COUNT` of the teacher cache to a path."""
    settings = CacheTeacher.from_json(config)
    data = load_sequences(sequences)
    stored = open_artifact(teacher, "teacher")
    decoder = load_decoder(stored)
    Path(cache).parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(cache))).free
    require_space(data, decoder, shard, settings, free)
    assert data.artifact is not None
    saved = write_shard(
        cache,
        decoder,
        data,
        shard,
        settings,
        {"sequences": data.artifact, "teacher": stored},
        progress,
    )
    positions = saved.properties["positions"]
    size = sum(path.stat().st_size for path in saved.path.iterdir())
    return {
        "digest": saved.digest,
        "headline": f"{positions:,} positions · {size / 2**20:.1f} MiB",
        "positions": positions,
        "bytes": size,
    }
