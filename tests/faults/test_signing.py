"""Row 18: a signed model whose one byte changed does not load, nor one that nobody signed."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from components.runtime import PUBLIC_KEY_VARIABLE, SIGNING_KEY_VARIABLE, open_registry
from slmrec.artifacts import MANIFEST, Artifact, canonical_json, digest_file, open_artifact
from slmrec.errors import ArtifactError, ConfigError
from slmrec.models.recommender import Recommender
from slmrec.registry.store import Registry
from slmrec.signing import PrivateKey, read_private_key, read_public_key, sign, verify
from tests.components.test_promote_model import Workshop
from tests.faults.conftest import Tell
from tests.models.servables import catalogue_of, export_small
from tests.registry.registries import FACTS, WHEN, artifact

FLIPS = 200


def pem(key: PrivateKey | rsa.RSAPrivateKey) -> tuple[str, str]:
    """A private key and its public one as PEM."""
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    return pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="module")
def strangers() -> tuple[str, str]:
    return pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return export_small(tmp_path / "model", catalogue_of([5, 4, 3, 2, 1]))


def signed(model: Artifact, private: str) -> Path:
    """Leave a model's signature where it is looked for."""
    place = model.path.with_name("model.sig")
    place.write_bytes(sign(model, read_private_key(private)))
    return place


def flip(path: Path, chance: random.Random) -> tuple[int, int]:
    """Change one bit of a file; where, and which byte was there."""
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    before = content[place]
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return place, before


def test_a_signed_model_does_not_load_when_one_bit_of_it_changed(
    model: Artifact, keys: tuple[str, str], tell: Tell
) -> None:
    private, public = keys
    signed(model, private)
    Recommender.open(model.path, 1, public_key=public)
    chance = random.Random(7)
    files = [model.path / name for name in (*sorted(model.files), MANIFEST)]
    sizes = [max(path.stat().st_size, 1) for path in files]
    refused = 0
    for number in range(FLIPS):
        # Each file at least once, then by size, as a bad disk would have it.
        path = files[number] if number < len(files) else chance.choices(files, sizes)[0]
        before = path.read_bytes()
        flip(path, chance)
        with pytest.raises(ArtifactError):
            Recommender.open(model.path, 1, public_key=public)
        refused += 1
        path.write_bytes(before)
    Recommender.open(model.path, 1, public_key=public)
    tell(
        18,
        "a signed model whose one byte changed does not load",
        "0 of 200 load",
        f"{FLIPS - refused} of {FLIPS} loaded; bits of its {len(files)} files, the manifest among them",
    )


def test_a_signed_model_does_not_load_when_the_manifest_was_made_to_fit(
    model: Artifact, keys: tuple[str, str]
) -> None:
    signed(model, keys[0])
    name = next(name for name in sorted(model.files) if name.endswith(".json"))
    (model.path / name).write_text("{}")
    manifest = json.loads((model.path / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": 2, "sha256": digest_file(model.path / name)}
    (model.path / MANIFEST).write_text(canonical_json(manifest))
    changed = open_artifact(model.path)  # whole, as far as anybody can tell who has no key
    with pytest.raises(ArtifactError, match="other files than were signed"):
        verify(changed, model.path.with_name("model.sig").read_bytes(), read_public_key(keys[1]))


def test_a_model_does_not_load_when_a_stranger_or_nobody_signed_it(
    model: Artifact, keys: tuple[str, str], strangers: tuple[str, str]
) -> None:
    with pytest.raises(ArtifactError, match=r"model\.sig: missing"):
        Recommender.open(model.path, 1, public_key=keys[1])
    signed(model, strangers[0])
    with pytest.raises(ArtifactError, match="signed with another key"):
        Recommender.open(model.path, 1, public_key=keys[1])
    Recommender.open(model.path, 1)  # nobody asked


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"{}", b"null", b'{"dsseEnvelope": {}}', b"\xff" * 100, b"[" * 100_000),
        b'{"dsseEnvelope": {"payload": "e30=", "signatures": []}}',
        b'{"dsseEnvelope": {"payload": "e30=", "signatures": [{"sig": "AA=="}]}}',
        b'{"dsseEnvelope": {"payload": 7, "signatures": [{"sig": null}]}}',
    ],
)
def test_a_signature_is_refused_when_it_is_none(
    content: bytes, model: Artifact, keys: tuple[str, str]
) -> None:
    with pytest.raises(ArtifactError, match="signature"):
        verify(model, content, read_public_key(keys[1]))


def test_a_signature_is_refused_when_its_owner_signed_something_else(
    model: Artifact, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmrec.signing._PREDICATE", "https://example.org/a-review/v1")
    other = sign(model, read_private_key(keys[0]))
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="no statement about a model"):
        verify(model, other, read_public_key(keys[1]))


def test_a_key_is_refused_when_it_is_another_kind(tmp_path: Path) -> None:
    rsa_private, rsa_public = pem(rsa.generate_private_key(65537, 2048))
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    curve, _ = pem(ec.generate_private_key(ec.SECP384R1()))
    for text in (rsa_private, rsa_public, curve, locked.decode(), "-----BEGIN NOTHING-----"):
        with pytest.raises(ConfigError, match="expected a private key in PEM") as refused:
            read_private_key(text)
        assert text.splitlines()[-1] not in str(refused.value)
    with pytest.raises(ConfigError, match="expected a public key in PEM"):
        read_public_key(rsa_public)
    with pytest.raises(ConfigError, match=r"absent\.pem: cannot be read: No such file"):
        read_public_key(str(tmp_path / "absent.pem"))


@pytest.fixture
def registry(tmp_path: Path, keys: tuple[str, str]) -> Registry:
    """Two versions in a registry that trusts a key; neither is signed."""
    found = Registry(tmp_path / "registry", read_public_key(keys[1]))
    for number in (1, 2):
        found.add(
            artifact(tmp_path / f"model-{number}", "servable", number),
            artifact(tmp_path / "evaluation", "evaluation", 0),
            artifact(tmp_path / "timings", "timings", 0),
            FACTS,
            code_digest="code",
            settings_digest="settings",
            time=WHEN,
        )
    return found


def test_what_is_to_serve_has_to_be_signed_when_a_key_is_trusted(
    registry: Registry, keys: tuple[str, str], strangers: tuple[str, str]
) -> None:
    said = {"reason": "better", "actor": "me", "time": WHEN}
    registry.propose(1, **said)  # a candidate may wait for its signature
    assert registry.signatures.describe(1) == "unsigned"
    with pytest.raises(ArtifactError, match=r"nobody has signed it.*'registry sign 1'"):
        registry.promote(1, None, **said)
    registry.signatures.add(1, read_private_key(strangers[0]))
    assert registry.signatures.describe(1).startswith("refused: ")
    with pytest.raises(ArtifactError, match="signed with another key"):
        registry.promote(1, None, **said)
    assert registry.channels().production is None
    registry.signatures.add(1, read_private_key(keys[0]))
    registry.promote(1, None, **said)
    assert registry.signatures.describe(1) == "signed and checked"
    registry.signatures.add(2, read_private_key(keys[0]))
    registry.promote(2, 1, **said)
    shutil.copy(Path(registry.uri(2, "model.sig")), Path(registry.uri(1, "model.sig")))
    with pytest.raises(ArtifactError, match="other files than were signed"):
        registry.rollback(**said)
    assert registry.channels().production == 2
    assert Registry(registry.place).signatures.describe(1).startswith("signed, not checked")


def test_a_run_signs_what_it_promotes_when_it_has_the_key(
    tmp_path: Path, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys
    (tmp_path / "signing.pem").write_text(private)
    (tmp_path / "public.pem").write_text(public)
    monkeypatch.setenv(PUBLIC_KEY_VARIABLE, str(tmp_path / "public.pem"))
    workshop = Workshop(tmp_path, tmp_path / "registry")
    metadata, content = workshop.promote()
    assert (metadata["promoted"], content["promoted"]) == (0, None)
    assert "waits for a signature: registry sign 1 --key …" in content["reason"]
    monkeypatch.setenv(SIGNING_KEY_VARIABLE, str(tmp_path / "signing.pem"))
    assert workshop.promote()[0]["promoted"] == 1
    model = open_registry(workshop.registry.place).artifact(1, "model")
    assert model.kind == "servable"
    kept = [path for path in (tmp_path / "registry").rglob("*") if path.is_file()]
    assert not any(private.splitlines()[1].encode() in path.read_bytes() for path in kept)


def test_the_answers_of_a_signed_model_are_those_of_the_model(
    model: Artifact, keys: tuple[str, str]
) -> None:
    signed(model, keys[0])
    checked = Recommender.open(model.path, 1, public_key=keys[1]).recommend([["i1", "i2"]], 2)
    assert checked == Recommender.open(model.path, 1).recommend([["i1", "i2"]], 2)
    assert np.isfinite([one.score for one in checked[0]]).all()
