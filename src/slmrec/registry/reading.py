"""Reading the registry's documents: the fields that were written, of the types that were written."""

from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from slmrec.errors import ArtifactError

T = TypeVar("T")


def read_document(
    kind: TypeAdapter[T],
    content: bytes,
    where: str,
    what: str,
    *,
    needed: Collection[str] = (),
    mend: str = "restore it from a copy",
) -> T:
    """Read JSON as a dataclass, each value of exactly its field's type.

    `needed` are fields that must be there though they have a default. Raises `ArtifactError` naming
    `where` and the first field that is not `what` was written.
    """
    try:
        found = kind.validate_json(content, strict=True, extra="forbid")
        there = _OBJECT.validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part)[:80] for part in problem["loc"]) or "the whole"
        raise ArtifactError(f"{where}: not {what} ({field}: {problem['msg']}); {mend}") from None
    for name in sorted({*needed} - there.keys()):
        raise ArtifactError(f"{where}: not {what} ({name}: Field required); {mend}")
    return found


_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
