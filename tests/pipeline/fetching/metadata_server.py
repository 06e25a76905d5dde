"""ML Metadata behind the pages of Kubeflow Pipelines before 3.0: gRPC-web, and messages with maps."""

import struct
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

from tests.pipeline.fetching.ran import Ran, Task, artifacts_of
from tests.pipeline.submission.loopback import Asked, page

METHODS = "/ml_metadata.MetadataStoreService/"


def answer_metadata(ran: dict[str, Ran], asked: Asked) -> bytes:
    assert asked.headers["Content-Type"] == "application/grpc-web+proto"
    kind, size = struct.unpack_from(">BI", asked.content)
    assert (kind, size) == (0, len(asked.content) - 5)
    method = asked.path.removeprefix(METHODS)
    wanted = METADATA[f"{method}Request"].FromString(asked.content[5:])
    answer = getattr(_Server(ran), method)(wanted).SerializeToString()
    trailer = b"grpc-status:0\r\ngrpc-message:\r\n"
    return b"".join(
        struct.pack(">BI", kind, len(frame)) + frame
        for kind, frame in ((0, answer), (0x80, trailer))
    )


@dataclass(frozen=True)
class _Server:
    ran: dict[str, Ran]

    def GetContextByTypeAndName(self, wanted: Any) -> Any:
        answer = METADATA["GetContextByTypeAndNameResponse"]()
        if wanted.context_name in self.ran:
            assert wanted.type_name == "system.PipelineRun"
            answer.context.id = 1 + list(self.ran).index(wanted.context_name)
            answer.context.name = wanted.context_name
        return answer

    def GetExecutionsByContext(self, wanted: Any) -> Any:
        """Two at a time, in numbers that tell which run and which task they are of."""
        number = wanted.context_id
        tasks = list(self.ran.values())[number - 1].tasks
        every = [(number * 100, None), *((number * 100 + 1 + n, t) for n, t in enumerate(tasks))]
        shown, token = page(every, wanted.options.next_page_token)
        answer = METADATA["GetExecutionsByContextResponse"](next_page_token=token)
        for identity, task in shown:
            one = answer.executions.add(id=identity)
            properties = one.custom_properties
            if task is None:
                properties["display_name"].string_value = "root"
                continue
            one.last_known_state = 4 if task.message else 5 if task.cached else 3
            one.create_time_since_epoch = round(task.started.timestamp() * 1000)
            one.last_update_time_since_epoch = round(task.ended.timestamp() * 1000)
            properties["task_name"].string_value = task.name
            properties["outputs"].struct_value.update(task.parameters)
        return answer

    def GetEventsByExecutionIDs(self, wanted: Any) -> Any:
        answer = METADATA["GetEventsByExecutionIDsResponse"]()
        for execution in wanted.execution_ids:
            for place, (port, _, _) in enumerate(artifacts_of(self.by_number(execution))):
                event = answer.events.add(execution_id=execution, type=4)
                event.artifact_id = execution * 100 + place
                event.path.steps.add(key=port)
            taken = answer.events.add(execution_id=execution, type=3, artifact_id=1)  # an input
            taken.path.steps.add(key="sequences")
        return answer

    def GetArtifactsByID(self, wanted: Any) -> Any:
        answer = METADATA["GetArtifactsByIDResponse"]()
        for identity in wanted.artifact_ids:
            task = self.by_number(identity // 100)
            _, uri, metadata = artifacts_of(task)[identity % 100]
            one = answer.artifacts.add(id=identity, uri=uri)
            for key, value in metadata.items():
                store(one.custom_properties[key], value)
        return answer

    def by_number(self, execution: int) -> Task:
        ran = list(self.ran.values())[execution // 100 - 1]
        return ran.tasks[execution % 100 - 1]


def store(kept: Any, value: Any) -> None:
    """As `StructValueToMLMDValue` of KFP's launcher puts a value into ML Metadata; null is an error."""
    if isinstance(value, bool):
        kept.int_value = int(value)
    elif isinstance(value, float):
        kept.double_value = value
    elif isinstance(value, str):
        kept.string_value = value
    else:
        assert isinstance(value, dict), f"KFP's launcher would fail: {value!r}"
        kept.struct_value.update({"struct": value})


def _metadata_messages() -> dict[str, Any]:
    """The messages as the server has them: maps where the client reads lists of entries."""
    numbers = {
        "Value": "int_value 1 int64, double_value 2 double, string_value 3 string, "
        "struct_value 4 Struct, bool_value 6 bool",
        "Context": "id 1 int64, type_id 2 int64, name 3 string",
        "Execution": "id 1 int64, type_id 2 int64, last_known_state 3 int64, "
        "custom_properties 5 map, create_time_since_epoch 8 int64, "
        "last_update_time_since_epoch 9 int64",
        "Artifact": "id 1 int64, type_id 2 int64, uri 3 string, custom_properties 5 map",
        "Step": "index 1 int64, key 2 string",
        "Path": "steps 1 Step*",
        "Event": "artifact_id 1 int64, execution_id 2 int64, path 3 Path, type 4 int64",
        "Options": "max_result_size 1 int64, next_page_token 3 string",
        "GetContextByTypeAndNameRequest": "type_name 1 string, context_name 2 string",
        "GetContextByTypeAndNameResponse": "context 1 Context",
        "GetExecutionsByContextRequest": "context_id 1 int64, options 2 Options",
        "GetExecutionsByContextResponse": "executions 1 Execution*, next_page_token 2 string",
        "GetEventsByExecutionIDsRequest": "execution_ids 1 int64*",
        "GetEventsByExecutionIDsResponse": "events 1 Event*",
        "GetArtifactsByIDRequest": "artifact_ids 1 int64*",
        "GetArtifactsByIDResponse": "artifacts 1 Artifact*",
    }
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"int64": kinds.TYPE_INT64, "double": kinds.TYPE_DOUBLE, "bool": kinds.TYPE_BOOL}
    scalars["string"] = kinds.TYPE_STRING
    file = descriptor_pb2.FileDescriptorProto(
        name="server.proto",
        package="server",
        syntax="proto2",
        dependency=["google/protobuf/struct.proto"],
    )
    for name, listed in numbers.items():
        message = file.message_type.add(name=name)
        for words in listed.split(", "):
            label, number, kind = words.split()
            repeated = kind.endswith("*") or kind == "map"
            kind = kind.rstrip("*")
            added = message.field.add(name=label, number=int(number))
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in scalars:
                added.type = scalars[kind]
                continue
            added.type = kinds.TYPE_MESSAGE
            added.type_name = {
                "Struct": ".google.protobuf.Struct",
                "map": f".server.{name}.CustomPropertiesEntry",
            }.get(kind, f".server.{kind}")
            if kind == "map":
                entry = message.nested_type.add(name="CustomPropertiesEntry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, type=scalars["string"], label=1)
                value = entry.field.add(name="value", number=2, type=kinds.TYPE_MESSAGE, label=1)
                value.type_name = ".server.Value"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    found = message_factory.GetMessageClassesForFiles([file.name], pool)
    return {name.removeprefix("server."): kind for name, kind in found.items()}


METADATA = _metadata_messages()
