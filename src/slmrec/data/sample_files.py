"""The built-in sample as files, for people who want to look at it or to time something."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from slmrec.data.sample import Sample, sample_interactions, sample_items
from slmrec.errors import ConfigError
from slmrec.progress import Progress

SUFFIXES = (".parquet", ".csv", ".csv.gz")


def sample_paths(log: Path) -> tuple[Path, Path]:
    """Give the two files that a sample is written to: the log, and its items beside it.

    Raises `ConfigError` when the name does not end in one of `SUFFIXES`.
    """
    suffix = _suffix(log)
    stem = log.name.removesuffix(suffix)
    return log, log.with_name(f"{stem}-items{suffix}")


def write_sample(sample: Sample, log: Path, progress: Progress) -> None:
    """Write the log of a sample to `log`, and its items to the file beside it.

    Both appear when they are whole. The same sample gives the same bytes.
    """
    paths = sample_paths(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    _write(paths[1], iter([sample_items(sample)]))
    done = 0

    def chunks() -> Iterator[pl.DataFrame]:
        nonlocal done
        for chunk in sample_interactions(sample):
            yield chunk
            done += len(chunk)
            progress.update(done, sample.interactions, "rows written")

    _write(paths[0], chunks())


def _write(path: Path, chunks: Iterator[pl.DataFrame]) -> None:
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    first = _table(next(chunks))
    try:
        with ExitStack() as stack:
            write = _open(stack, partial, _suffix(path), first.schema)
            write(first)
            for chunk in chunks:
                write(_table(chunk))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _open(
    stack: ExitStack, path: Path, suffix: str, schema: pa.Schema
) -> Callable[[pa.Table], None]:
    if suffix == ".parquet":
        parquet = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
        return parquet.write_table
    sink = stack.enter_context(pa.OSFile(str(path), "wb"))
    if suffix == ".csv.gz":
        sink = stack.enter_context(pa.CompressedOutputStream(sink, "gzip"))
    return stack.enter_context(pyarrow.csv.CSVWriter(sink, schema)).write_table


def _table(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix) and path.name != suffix:
            return suffix
    raise ConfigError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
