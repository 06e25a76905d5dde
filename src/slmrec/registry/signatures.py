"""Which models somebody has signed, and whether that is somebody whom one trusts here."""

from slmrec.artifacts import Artifact, canonical_json, digest_text
from slmrec.errors import ArtifactError
from slmrec.registry.versions import MODEL, Versions
from slmrec.signing import PrivateKey, PublicKey, hint, sign, verify


class Signatures:
    """The signatures of a registry's models; without a `trusted` key nobody asks for one."""

    def __init__(self, versions: Versions, trusted: PublicKey | None) -> None:
        self._versions = versions
        self._trusted = trusted

    def require(self, number: int, model: Artifact) -> None:
        """Raise `ArtifactError` where a version's model is not signed by whom one trusts."""
        if self._trusted is None:
            return
        signature = self._versions.signature(number)
        if signature is None:
            raise ArtifactError(
                f"{self._versions.uri(number, MODEL)}: nobody has signed it, expected a signature of "
                f"the key that is trusted here; look at it, then 'registry sign {number}'"
            )
        verify(model, signature, self._trusted)

    def add(self, number: int, key: PrivateKey) -> None:
        """Sign a version's model anew. Raises `ArtifactError` when it is not whole."""
        self._versions.sign(number, sign(self._versions.artifact(number, MODEL), key))

    def has(self, number: int) -> bool:
        """Whether anybody has signed a version's model."""
        return self._versions.signature(number) is not None

    def identity(self, number: int) -> str:
        """Digest of a version's signature and of the key that is trusted."""
        signature = self._versions.signature(number) or b""
        key = "" if self._trusted is None else hint(self._trusted)
        return digest_text(canonical_json([signature.decode("utf-8", "replace"), key]))

    def missing(self, number: int) -> bool:
        """Whether models have to be signed here and nobody has signed this one."""
        return self._trusted is not None and not self.has(number)

    def describe(self, number: int) -> str:
        """What is known of the signature of a version's model, in a few words."""
        if not self.has(number):
            return "unsigned"
        if self._trusted is None:
            return "signed, not checked: no public key was given"
        try:
            self.require(number, self._versions.artifact(number, MODEL))
        except ArtifactError as error:
            return f"refused: {error}"
        return "signed and checked"
