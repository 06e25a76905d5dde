"""Vertex AI Pipelines by its REST API: https://cloud.google.com/vertex-ai/docs/reference/rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.submission.transport import Request, Transport

VERSION_LABEL = "slmrec-version"
"""Of a job: the digest of its document."""
_CONSOLE = "https://console.cloud.google.com/vertex-ai/pipelines"


@dataclass(frozen=True)
class VertexApi:
    """The API in a project and a location."""

    transport: Transport
    project: str
    location: str
    endpoint: str = ""
    """Its address; the location's own where empty."""

    def list(self, purpose: str, kind: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Every object of a kind, page by page."""
        asked = {"pageSize": "100", **query}
        while True:
            answer = self.transport.send(Request(purpose, "GET", self.url(kind), query=asked))
            yield from answer.get(kind) or ()
            if not answer.get("nextPageToken"):
                return
            asked = {**asked, "pageToken": answer["nextPageToken"]}

    @property
    def parent(self) -> str:
        """What all objects belong to."""
        return f"projects/{self.project}/locations/{self.location}"

    def url(self, path: str) -> str:
        """Address of what lies at a path below the parent."""
        endpoint = self.endpoint or f"https://{self.location}-aiplatform.googleapis.com"
        return f"{endpoint}/v1/{self.parent}/{path}"

    def page(self, kind: str, identity: str) -> str:
        """The console's page of one of the `runs` or `schedules`."""
        return f"{_CONSOLE}/locations/{self.location}/{kind}/{identity}?project={self.project}"
