"""Buckets that are mounted as folders: how clusters give the path of an artifact in `gs://`.

Vertex AI mounts Cloud Storage by FUSE under `/gcs/BUCKET`. There a file is written from its beginning
to its end; what is written elsewhere in it, or through a memory map, is refused or costs it all.
Files are renamed by a copy, folders not at all; there are no hard links and no locks.
"""

from pathlib import Path

MOUNTS = {Path("/gcs"): "gs://", Path("/minio"): "minio://", Path("/s3"): "s3://"}
"""Where Kubeflow Pipelines and Vertex AI have artifacts of which scheme."""


def mounted_uri(path: Path) -> str:
    """The URI of what a path in a mounted bucket stands for; empty for any other path."""
    place = path.absolute()
    for mount, scheme in MOUNTS.items():
        if place.is_relative_to(mount):
            return scheme + place.relative_to(mount).as_posix()
    return ""
