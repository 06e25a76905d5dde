"""The few messages of ML Metadata that are exchanged.

Numbers as in metadata_store.proto and metadata_store_service.proto of google/ml-metadata; fields that
nobody asks for are left out, and skipped when they arrive.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

_PACKAGE = "slmrec.ml_metadata"
_ONE_OF = "Value"
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Value": {
        "int_value": (1, "int64"),
        "double_value": (2, "double"),
        "string_value": (3, "string"),
        "struct_value": (4, struct_pb2.Struct.DESCRIPTOR.full_name),
        "bool_value": (6, "bool"),
    },
    "Property": {"key": (1, "string"), "value": (2, "Value")},
    "Context": {"id": (1, "int64"), "name": (3, "string")},
    "Execution": {
        "id": (1, "int64"),
        "last_known_state": (3, "int64"),
        "custom_properties": (5, "Property*"),
        "create_time_since_epoch": (8, "int64"),
        "last_update_time_since_epoch": (9, "int64"),
    },
    "Artifact": {"id": (1, "int64"), "uri": (3, "string"), "custom_properties": (5, "Property*")},
    "Step": {"index": (1, "int64"), "key": (2, "string")},
    "Path": {"steps": (1, "Step*")},
    "Event": {
        "artifact_id": (1, "int64"),
        "execution_id": (2, "int64"),
        "path": (3, "Path"),
        "type": (4, "int64"),
    },
    "Options": {"next_page_token": (3, "string")},
    "GetContextByTypeAndNameRequest": {"type_name": (1, "string"), "context_name": (2, "string")},
    "GetContextByTypeAndNameResponse": {"context": (1, "Context")},
    "GetExecutionsByContextRequest": {"context_id": (1, "int64"), "options": (2, "Options")},
    "GetExecutionsByContextResponse": {
        "executions": (1, "Execution*"),
        "next_page_token": (2, "string"),
    },
    "GetEventsByExecutionIDsRequest": {"execution_ids": (1, "int64*")},
    "GetEventsByExecutionIDsResponse": {"events": (1, "Event*")},
    "GetArtifactsByIDRequest": {"artifact_ids": (1, "int64*")},
    "GetArtifactsByIDResponse": {"artifacts": (1, "Artifact*")},
}
"""Message → field → (number, type); a star is for repeated ones. An enumeration travels as a number."""


def message(name: str, content: bytes | None = None, **fields: Any) -> Any:
    """A message with fields, or read from bytes. Raises `DecodeError` for bytes that are none."""
    kind = _kinds()[f"{_PACKAGE}.{name}"]
    return kind(**fields) if content is None else kind.FromString(content)


@cache
def _kinds() -> dict[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "int64": field.TYPE_INT64,
        "double": field.TYPE_DOUBLE,
        "string": field.TYPE_STRING,
        "bool": field.TYPE_BOOL,
    }
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{_PACKAGE}.proto",
        package=_PACKAGE,
        syntax="proto2",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        described = file.message_type.add(name=name)
        if name == _ONE_OF:
            described.oneof_decl.add(name="value")
        for label, (number, kind) in fields.items():
            repeated = kind.endswith("*")
            kind = kind.rstrip("*")
            added = described.field.add(
                name=label,
                number=number,
                label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            )
            if name == _ONE_OF:
                added.oneof_index = 0
            if kind in scalars:
                added.type = scalars[kind]
            else:
                added.type = field.TYPE_MESSAGE
                added.type_name = f".{kind}" if "." in kind else f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClassesForFiles([file.name], pool)
