"""What tasks gave, asked of ML Metadata as the pages of Kubeflow Pipelines before 3.0 ask it.

The service speaks gRPC-web and is led to by the address of those pages, not by that of the API alone.
Names of properties: kubeflow/pipelines, backend/src/v2/metadata/client.go.
"""

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from pipeline.fetching.ml_metadata_messages import message
from pipeline.fetching.remote import RemoteArtifact, RemoteTask, step_of, whole_numbers
from pipeline.submission.kfp_api import KubeflowApi
from pipeline.submission.transport import Request, SubmissionError
from slmrec.errors import ConfigError

_KIND = "application/grpc-web+proto"
_RUN_TYPE = "system.PipelineRun"
_COMPLETE, _CACHED = 3, 5
"""`ml_metadata.Execution.State`."""
_OUTPUT = 4
"""`ml_metadata.Event.Type`."""
_TRAILER = 0x80


def executed_tasks(api: KubeflowApi, run_id: str, steps: frozenset[str]) -> list[RemoteTask]:
    """The tasks of a run that ended well, cached ones with what they took from the cache.

    Raises `ConfigError` where the address does not lead to ML Metadata, `SubmissionError` where it
    knows nothing of the run.
    """
    named = message("GetContextByTypeAndNameRequest", type_name=_RUN_TYPE, context_name=run_id)
    context = _ask(api, "GetContextByTypeAndName", named).context
    if not context.id:
        raise SubmissionError(f"run {run_id}: ML Metadata at {api.host} knows nothing of it")
    executions = [
        one for one in _executions(api, context.id) if one.last_known_state in (_COMPLETE, _CACHED)
    ]
    outputs = _outputs(api, [one.id for one in executions])
    tasks = []
    for one in executions:
        properties = _properties(one.custom_properties)
        step = step_of(str(properties.get("task_name", "")), steps)
        if step:
            tasks.append(
                RemoteTask(
                    step=step,
                    state="cached" if one.last_known_state == _CACHED else "executed",
                    started=_time(one.create_time_since_epoch),
                    ended=_time(one.last_update_time_since_epoch),
                    outputs=outputs.get(one.id, {}),
                    parameters=properties.get("outputs") or {},
                )
            )
    return tasks


def _executions(api: KubeflowApi, context: int) -> Iterator[Any]:
    token = ""
    while True:
        asked = message("GetExecutionsByContextRequest", context_id=context)
        if token:
            asked.options.next_page_token = token
        answer = _ask(api, "GetExecutionsByContext", asked)
        yield from answer.executions
        token = answer.next_page_token
        if not token:
            return


def _outputs(api: KubeflowApi, executions: list[int]) -> dict[int, dict[str, RemoteArtifact]]:
    """Execution → port → what it gave."""
    if not executions:
        return {}
    asked = message("GetEventsByExecutionIDsRequest", execution_ids=executions)
    events = [
        event
        for event in _ask(api, "GetEventsByExecutionIDs", asked).events
        if event.type == _OUTPUT and event.path.steps
    ]
    wanted = sorted({event.artifact_id for event in events})
    if not wanted:
        return {}
    asked = message("GetArtifactsByIDRequest", artifact_ids=wanted)
    artifacts = {
        one.id: RemoteArtifact(one.uri, _properties(one.custom_properties))
        for one in _ask(api, "GetArtifactsByID", asked).artifacts
    }
    found: dict[int, dict[str, RemoteArtifact]] = {}
    for event in events:
        if event.artifact_id in artifacts:
            ports = found.setdefault(event.execution_id, {})
            ports[event.path.steps[0].key] = artifacts[event.artifact_id]
    return found


def _ask(api: KubeflowApi, method: str, asked: Message) -> Any:
    parts = urlsplit(api.host)
    root = f"{parts.scheme}://{parts.netloc}"
    url = f"{root}/ml_metadata.MetadataStoreService/{method}"
    request = Request("ask for the run's artifacts", "POST", url)
    content = asked.SerializeToString()
    try:
        answer = api.transport.exchange(  # type: ignore[attr-defined] - only the network has it
            request, b"\0" + struct.pack(">I", len(content)) + content, _KIND
        )
        return message(f"{method}Response", _unframed(answer))
    except (ConfigError, DecodeError, ValueError) as error:
        raise ConfigError(
            f"{error}; before 3.0, Kubeflow Pipelines tells what its steps gave through ML Metadata "
            f"only, which {root} has to lead to: name as --host the address of its pages, not of its "
            "API"
        ) from None


def _unframed(answer: bytes) -> bytes:
    """The one message of a gRPC-web answer. Raises `ValueError` for anything else."""
    found: list[bytes] = []
    status = ""
    place = 0
    while place < len(answer):
        kind, size = struct.unpack_from(">BI", answer.ljust(place + 5, b"\0"), place)
        frame = answer[place + 5 : place + 5 + size]
        if len(frame) != size or kind not in (0, _TRAILER):
            raise ValueError("answers with something else than gRPC-web")
        if kind == _TRAILER:
            lines = frame.decode("utf-8", "replace").splitlines()
            told = dict(line.partition(":")[::2] for line in lines)
            status = told.get("grpc-status", "").strip()
            if status != "0":
                raise ValueError(f"refused ({unquote(told.get('grpc-message', '')).strip()})")
        else:
            found.append(frame)
        place += 5 + size
    if len(found) != 1:
        raise ValueError("answers with something else than gRPC-web")
    return found[0]


def _properties(properties: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in properties}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind != "struct_value":
        return whole_numbers(getattr(value, kind)) if kind else None
    content = MessageToDict(value.struct_value)
    # Lists and objects of metadata are wrapped, the outputs of a task are not.
    wrapped = len(content) == 1 and next(iter(content)) in ("list", "struct")
    return whole_numbers(next(iter(content.values())) if wrapped else content)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
