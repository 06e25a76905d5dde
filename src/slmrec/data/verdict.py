"""The validation verdict as later steps see it."""

from slmrec.artifacts import Artifact
from slmrec.errors import ArtifactError, ValidationFailed

KIND = "validation"


def require_success(validation: Artifact, log: Artifact) -> None:
    """Check that a verdict is about this log and that the log passed.

    Raises `ArtifactError` when the verdict is about another log and `ValidationFailed` when the
    log did not pass.
    """
    about = validation.inputs.get("interactions")
    if about != log.digest:
        raise ArtifactError(
            f"{validation.path}: the verdict is about another log (digest {str(about)[:12]}, "
            f"this log has {log.digest[:12]}); run validate_data on this log"
        )
    if validation.properties.get("success") is not True:
        raise ValidationFailed(
            f"{log.path}: failed its validation; see {validation.path / 'validation.html'}"
        )
