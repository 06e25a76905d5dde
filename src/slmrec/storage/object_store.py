"""Objects in an S3-compatible store, such as the one that Kubeflow Pipelines brings; only ever read.

An artifact's address is told by whoever ran the pipeline, so it decides the bucket and the object and
nothing else: requests go to the endpoint that the caller named, or to Amazon where there is none.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from slmrec.errors import ConfigError, SourceMissingError, first_line

S3, MINIO = "s3://", "minio://"
RANGE_BYTES = 8 * 2**20
"""Of an object that is asked for, and held in memory, at once."""
CONNECT_SECONDS = 5.0
SILENT_SECONDS = 10.0
"""After so long without a byte an answer counts as lost."""
ATTEMPTS = 3
"""For each request; the library waits in between."""
KEY, SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ANY_REGION = "us-east-1"
"""What stores of one's own are in."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CAUSE = re.compile(r"AWS Error ([A-Z_]+)(?: \(HTTP status (\d+)\))?")


def is_in_object_store(uri: str) -> bool:
    """Whether a URI names an object in an S3-compatible store."""
    return uri.startswith((S3, MINIO))


class ObjectStore:
    """One store, read with the credentials that Amazon's own tools would take.

    `endpoint` is `http(s)://HOST:PORT`; empty for Amazon S3 itself. `environment` is where
    `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and `AWS_REGION` are looked for;
    without keys the library looks into `~/.aws` and asks the machine that it runs on. Raises
    `ConfigError` for an endpoint that is none.
    """

    def __init__(self, endpoint: str, environment: Mapping[str, str]) -> None:
        parts = urlsplit(endpoint)
        plain = f"{parts.scheme}://{parts.netloc}"
        if endpoint and (parts.scheme not in ("http", "https") or endpoint.rstrip("/") != plain):
            raise ConfigError(
                f"{endpoint}: expected the address of an object store and nothing behind it, such as "
                "http://HOST:9000"
            )
        self._scheme, self._host = parts.scheme, parts.netloc
        self._environment = environment
        self._there: set[str] = set()

    def address(self, uri: str) -> str:
        """The URI of an artifact without what KFP's launcher may have left behind a `?`.

        Raises `ConfigError` when it names no object, and `SourceMissingError` when nobody has said
        which store it lies in.
        """
        plain, _, query = uri.partition("?")
        _split(plain)
        elsewhere = "".join(parse_qs(query).get("endpoint", [])[:1])
        if not self._host and (uri.startswith(MINIO) or elsewhere):
            said = f", it says {elsewhere[:80]!a}" if elsewhere else ""
            raise SourceMissingError(
                f"{plain}: lies in a store of the cluster's own{said}; name its address with "
                "--object-store, in the cluster http://minio-service.kubeflow:9000 or "
                "http://seaweedfs.kubeflow:9000"
            )
        return plain

    def download(self, uri: str, target: Path) -> None:
        """Write an object to a file, or nothing.

        Raises `ConfigError` for a malformed URI and for half a pair of credentials, and
        `SourceMissingError` where the object is not there, may not be read, or does not arrive.
        """
        partial = target.with_name(f".{target.name}.partial")
        try:
            with partial.open("wb") as file:
                for content in self._ranges(uri):
                    file.write(content)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def _ranges(self, uri: str) -> Iterator[bytes]:
        bucket, name = _split(uri)
        with self._reaching(uri, bucket), self._files.open_input_file(f"{bucket}/{name}") as source:
            size = source.size()
            for start in range(0, size, RANGE_BYTES):
                yield source.read_at(min(RANGE_BYTES, size - start), start)

    @cached_property
    def _files(self) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        region = next(filter(None, map(self._environment.get, _REGIONS)), None)
        return S3FileSystem(
            **self._credentials(),
            endpoint_override=self._host or None,
            scheme=self._scheme or "https",
            region=region or (_ANY_REGION if self._host else None),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=SILENT_SECONDS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        )

    def _credentials(self) -> dict[str, str]:
        pair = self._environment.get(KEY, ""), self._environment.get(SECRET, "")
        if not any(pair):
            return {}
        if not all(pair):
            there, absent = (KEY, SECRET) if pair[0] else (SECRET, KEY)
            raise ConfigError(f"{absent}: not set, although {there} is; set both, or neither")
        token = self._environment.get("AWS_SESSION_TOKEN", "")
        return {"access_key": pair[0], "secret_key": pair[1], "session_token": token}

    @contextmanager
    def _reaching(self, uri: str, bucket: str) -> Iterator[None]:
        """Tell any failure of the store in a line: `SourceMissingError`."""
        try:
            yield
        except FileNotFoundError:
            with self._reaching(uri, bucket):
                there = self._has(bucket)
            missing = "no such object in it" if there else f"no bucket '{bucket}' there"
            raise SourceMissingError(
                f"{uri}: asked {self._place}: {missing}; check that this is the store that the steps "
                "write to, and that the run's artifacts have not been removed"
            ) from None
        except (OSError, ValueError) as error:  # Arrow's own errors are the latter
            raise SourceMissingError(f"{uri}: asked {self._place}: {self._told(error)}") from error

    def _has(self, bucket: str) -> bool:
        from pyarrow.fs import FileType

        if bucket not in self._there:
            if self._files.get_file_info(bucket).type == FileType.NotFound:
                return False
            self._there.add(bucket)
        return True

    @property
    def _place(self) -> str:
        return f"{self._scheme}://{self._host}" if self._host else "Amazon S3"

    def _told(self, error: Exception) -> str:
        """What went wrong, and what to do next."""
        first = first_line(error)
        found = _CAUSE.search(first)
        if found is None:
            return f"could not be read ({first}); try again"
        cause, status = found[1], found[2] or ""
        if cause == "NETWORK_CONNECTION":
            way = "--object-store and the way to it" if self._host else "the network"
            return f"no answer ({first.rpartition('Details: ')[2]}); check {way}"
        if cause == "ACCESS_DENIED":
            if not self._environment.get(KEY):
                return (
                    f"refused (403), and {KEY} and {SECRET} are not set; set them, in the cluster from "
                    "its secret mlpipeline-minio-artifact"
                )
            return (
                f"refused (403); check {KEY} and {SECRET}, that they may read there, and that the "
                "clock of this machine is right"
            )
        if status in ("301", "400"):
            return (
                f"refused ({status}); check AWS_REGION, and that the credentials have not expired"
            )
        return f"failed ({status or cause}) in up to {ATTEMPTS} attempts; try again later"


def _split(uri: str) -> tuple[str, str]:
    """Bucket and object name. Raises `ConfigError` when the URI names no object."""
    bucket, _, name = uri.partition("://")[2].partition("/")
    # A bucket's name may become part of a host's, so it must be nothing but a name.
    if not uri.isprintable() or not _BUCKET.fullmatch(bucket) or not name:
        raise ConfigError(f"{uri!a}: expected s3://BUCKET/OBJECT or minio://BUCKET/OBJECT")
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ConfigError(f"{uri}: expected an object name without '.', '..' or empty parts")
    return bucket, name
