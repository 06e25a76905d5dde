"""Sources as the command line names them, looked at before anything starts."""

from pathlib import Path

from pipeline.parameters import SAMPLE


def absolute(source: str) -> str:
    """The source under a name that means the same in every folder."""
    return source if source.startswith(SAMPLE) or "://" in source else str(Path(source).resolve())


def check_source(source: str) -> None:
    """Raise `SourceMissingError` or `ConfigError` for a source that cannot be there."""
    if source.startswith(SAMPLE):
        from slmrec.data.sample import parse_sample

        parse_sample(source)
        return
    from slmrec.storage.client import is_remote, split

    if is_remote(source):  # whether it is there is asked by the first step
        split(source, "gs://BUCKET/OBJECT, gs://BUCKET/PREFIX/ or gs://BUCKET/GLOB")
        return
    from slmrec.data.source import resolve

    resolve(source)
