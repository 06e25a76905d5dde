"""Signed models: a key that lies elsewhere says of these very bytes that they may serve.

The signature is what OpenSSF's Model Signing 1.0 writes for elliptic-curve keys, so that its tool
(`model_signing verify key`) checks ours and this checks its: an in-toto statement with the SHA-256 of
every file, in a DSSE envelope (https://github.com/secure-systems-lab/dsse), in a Sigstore bundle. Keys
are PEM, on the curve P-256: `openssl ecparam -name prime256v1 -genkey -noout -out signing.pem` and
`openssl ec -in signing.pem -pubout -out public.pem` make a pair.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from slmrec.artifacts import MANIFEST, Artifact, digest_files
from slmrec.errors import ArtifactError, ConfigError

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey
_PAYLOAD = "application/vnd.in-toto+json"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_ALGORITHM = ec.ECDSA(SHA256())


def read_private_key(given: str) -> PrivateKey:
    """The key that signs, from a path or from the PEM text itself. Raises `ConfigError`."""
    try:
        key = load_pem_private_key(_pem(given), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(given, "private", str(error)) from None
    if not isinstance(key, PrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _no_key(given, "private", "another kind of key")
    return key


def read_public_key(given: str) -> PublicKey:
    """The key that checks, from a path or from the PEM text itself. Raises `ConfigError`."""
    try:
        key = load_pem_public_key(_pem(given))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(given, "public", str(error)) from None
    if not isinstance(key, PublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _no_key(given, "public", "another kind of key")
    return key


def sign(model: Artifact, key: PrivateKey) -> bytes:
    """The signature of an artifact, its manifest included, as JSON."""
    resources = _resources(model)
    whole = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources))
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": "model", "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
        },
    }
    payload = json.dumps(statement).encode()
    signature = key.sign(_encoded(payload), _ALGORITHM)
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": hint(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return (json.dumps(bundle) + "\n").encode()


def verify(model: Artifact, signature: bytes, key: PublicKey) -> None:
    """Check that a key's owner signed the very bytes of an artifact, as they are on the disk now.

    Raises `ArtifactError` when the signature is of another key or other bytes, or is none.
    """
    try:
        signed = _signed(signature, key)
    except InvalidSignature:
        raise ArtifactError(
            f"{model.path}: signed with another key, or the signature was changed; check which key "
            "is trusted, or have the model signed again"
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ArtifactError(
            f"{model.path}: its signature cannot be read ({error}); have the model signed again"
        ) from None
    if signed != {one["name"]: one["digest"] for one in _resources(model)}:
        raise ArtifactError(
            f"{model.path}: other files than were signed; restore the model from a copy, or look at it "
            "and have it signed again"
        )


def _signed(signature: bytes, key: PublicKey) -> dict[str, str]:
    """SHA-256 by file name, as the key's owner signed them. Raises `InvalidSignature`."""
    envelope = json.loads(signature)["dsseEnvelope"]
    payload = b64decode(envelope["payload"], validate=True)
    mark = b64decode(envelope["signatures"][0]["sig"], validate=True)
    key.verify(mark, _encoded(payload), _ALGORITHM)
    statement = json.loads(payload)
    kinds = (envelope["payloadType"], statement["_type"], statement["predicateType"])
    if kinds != (_PAYLOAD, _STATEMENT, _PREDICATE):
        raise ValueError("no statement about a model")
    resources = statement["predicate"]["resources"]
    if any(one["algorithm"] != "sha256" for one in resources):
        raise ValueError("another digest than SHA-256")
    return {one["name"]: one["digest"] for one in resources}


def _resources(model: Artifact) -> list[dict[str, str]]:
    # Hashed from the disk, not taken from the manifest: that is one of the files that are signed.
    names = sorted({*model.files, MANIFEST})
    digests = digest_files([model.path / name for name in names])
    return [
        {"name": name, "algorithm": "sha256", "digest": digest}
        for name, digest in zip(names, digests, strict=True)
    ]


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} ".encode() + payload


def hint(key: PublicKey) -> str:
    """What names a key in a signature: SHA-256 of its PEM, in hexadecimal."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _pem(given: str) -> bytes:
    if given.lstrip().startswith("-----BEGIN"):
        return given.encode()
    try:
        return Path(given).read_bytes()
    except OSError as error:
        raise ConfigError(f"key {given}: cannot be read: {error.strerror or error}") from None


def _no_key(given: str, kind: str, found: str) -> ConfigError:
    # The text of a key never stands in a message.
    place = "key in the environment" if "-----BEGIN" in given else f"key {given}"
    return ConfigError(
        f"{place}: {found[:100]}; expected a {kind} key in PEM on the curve P-256, without a password; "
        "see slmrec.signing for how one is made"
    )
