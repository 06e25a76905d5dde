"""Kubeflow Pipelines by its v2beta1 API: https://www.kubeflow.org/docs/components/pipelines/reference.

The client of the `kfp` package sends the same requests, but has no deadlines, sleeps between attempts
and prints; and it uploads a first version under the pipeline's name, where ours is named by its digest.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pipeline.submission.transport import Request, Transport
from slmrec.errors import ConfigError

_PAGE = "100"


@dataclass(frozen=True)
class KubeflowApi:
    """The API at a host; `namespace` is for installations with several users."""

    transport: Transport
    host: str
    namespace: str = ""

    def get(self, purpose: str, path: str, tolerated: tuple[int, ...] = ()) -> dict[str, Any]:
        """Read one object."""
        return self.transport.send(Request(purpose, "GET", self.url(path), tolerated=tolerated))

    def post(
        self, purpose: str, path: str, body: dict[str, Any], tolerated: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """Make an object."""
        return self.transport.send(
            Request(purpose, "POST", self.url(path), body=body, tolerated=tolerated)
        )

    def list(
        self,
        purpose: str,
        path: str,
        key: str,
        *,
        name: str = "",
        newest_first: bool = False,
        tolerated: tuple[int, ...] = (),
    ) -> Iterator[dict[str, Any]]:
        """Every object at a path, page by page; with a `name` those that are called so."""
        query = {"page_size": _PAGE}
        if "/" not in path:  # what belongs to something is where that is
            query |= self.in_namespace()
        if newest_first:
            query["sort_by"] = "created_at desc"
        if name:
            predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
            query["filter"] = json.dumps({"predicates": [predicate]})
        while True:
            request = Request(purpose, "GET", self.url(path), query=query, tolerated=tolerated)
            answer = self.transport.send(request)
            for one in answer.get(key) or ():
                if not name or one.get("display_name") == name:
                    yield one
            if not answer.get("next_page_token"):
                return
            query = {**query, "page_token": answer["next_page_token"]}

    def named(self, kind: str, name: str) -> dict[str, Any] | None:
        """The pipeline or experiment of a name. Raises `ConfigError` where there are several."""
        found = [*self.list(f"look for {kind}", kind, kind, name=name)]
        if len(found) > 1:
            raise ConfigError(
                f"{self.host}: {len(found)} {kind} are called '{name}'; name the --namespace of one"
            )
        return found[0] if found else None

    def in_namespace(self) -> dict[str, str]:
        """The namespace as queries and bodies tell it; nothing where there is none."""
        return {"namespace": self.namespace} if self.namespace else {}

    def url(self, path: str) -> str:
        """Address of what lies at a path of the API."""
        return f"{self.host}/apis/v2beta1/{path}"

    def run_link(self, identity: str) -> str:
        """The page of a run."""
        return f"{self.host}/#/runs/details/{identity}"


def quoted(identity: str) -> str:
    """An id as a part of a path."""
    return quote(identity, safe="")
