"""Commits signed with an Ed25519 key of their committer, and the keys that a repository trusts.

A signature covers all of the record that its maker wrote, the id included: see `docs/signing.md`. The
library `cryptography` does the arithmetic, and is imported only where a key is used.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import orjson

from muse.core.content_id import is_content_id, sha256_hex
from muse.disk import layout
from muse.disk.storage import LOCAL, Storage
from muse.disk.system_calls import translated
from muse.errors import CorruptionError, MuseError, NotFoundError, UsageError
from muse.history.commit_record import CommitRecord
from muse.history.seal import read_seal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CONTEXT = b"muse commit signature 1\n"
"""The first bytes of all that is signed: so no signature for another purpose is valid for a commit."""

SIGNED_FIELDS = (
    "commit_id",
    "repo_id",
    "branch",
    "snapshot_id",
    "message",
    "committed_at",
    "parent_commit_id",
    "parent2_commit_id",
    "author",
    "metadata",
    "structured_delta",
    "sem_ver_bump",
    "breaking_changes",
    "agent_id",
    "model_id",
    "toolchain_id",
    "prompt_hash",
    "signer_key_id",
    "format_version",
)
"""All fields but the signature and the notes that are added later: `reviewed_by` and `test_runs`."""

_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")
_PUBLIC = ".pub"
_MAX_KEY_BYTES = 1 << 16


class SigningUnavailableError(MuseError):
    """The library that signs is not installed."""


class SignatureError(CorruptionError):
    """A commit whose signature is not that of its record."""


class UnknownKeyError(MuseError):
    """A commit signed with a key that is not among the trusted ones. `key_id` names it."""

    def __init__(self, message: str, *, key_id: str) -> None:
        super().__init__(message)
        self.key_id = key_id


def signed_bytes(record: CommitRecord) -> bytes:
    """Return the bytes that a signature of `record` covers: `CONTEXT`, then JSON with sorted keys."""
    signed: dict[str, Any] = {name: record[name] for name in SIGNED_FIELDS}  # type: ignore[literal-required]
    return CONTEXT + orjson.dumps(signed, option=orjson.OPT_SORT_KEYS)


def check_signer(record: CommitRecord, what: str) -> None:
    """Raise `SignatureError` if a commit that was made to be signed has no signature, or that of another key.

    No key is needed for that, as the message names it. `what` is how an error calls the commit.
    """
    seal = read_seal(record["message"])
    signer = seal.signer_key_id if seal else None
    if signer is None or (record["signature"] and record["signer_key_id"] == signer):
        return
    if record["signer_key_id"] not in {"", signer}:
        raise SignatureError(f"{what} is signed with another key than {signer}, which it was made with")
    advice = "restore it from another copy"
    raise SignatureError(f"{what} was signed with key {signer}, and its signature is gone: {advice}")


class Signer:
    """Signs commits with one private key. `key_id` is the SHA-256 of its raw public key."""

    def __init__(self, key: "Ed25519PrivateKey") -> None:
        self._key = key
        self.key_id = _key_id(key.public_key())

    @classmethod
    def load(cls, path: str, storage: Storage = LOCAL) -> "Signer":
        """Read a private key from a PEM file; `CorruptionError` if it is not an Ed25519 key."""
        ed25519, serialization = _library()
        data = _read_key(path, storage)
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, _unsupported()) as error:
            raise CorruptionError(
                f"{path} is not a private key without a password: {error}", path=path
            ) from error
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise CorruptionError(f"{path} is not an Ed25519 key: make one with 'muse key create'", path=path)
        return cls(key)

    def sign(self, record: CommitRecord) -> CommitRecord:
        """Return `record` with this key's id and signature; the id of the commit stays."""
        named: CommitRecord = {**record, "signer_key_id": self.key_id}
        return {**named, "signature": self._key.sign(signed_bytes(named)).hex()}

    def public_pem(self) -> bytes:
        """Return the public key in PEM, as `muse key trust` takes it."""
        return _public_pem(self._key.public_key())


def create_key(path: str, storage: Storage = LOCAL) -> Signer:
    """Make a key and write it to `path` as PEM, which only its owner can read.

    `UsageError` if there is a file: a key is never overwritten. A failed write leaves no file.
    """
    ed25519, serialization = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with translated(path, "write"):
        try:
            descriptor = storage.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError as error:
            raise UsageError(
                f"{path} is already there, and a key is never overwritten: name another file"
            ) from error
        _write_new(storage, descriptor, path, pem)
    storage.sync_directory(os.path.dirname(path) or ".")
    return Signer(key)


def _write_new(storage: Storage, descriptor: int, path: str, data: bytes) -> None:
    try:
        storage.change_mode(descriptor, 0o600)
        storage.write_all(descriptor, data)
        storage.sync_data(descriptor)
    except OSError:
        with suppress(OSError):
            storage.unlink(path)
        raise
    finally:
        storage.close(descriptor)


class TrustedKeys:
    """The public keys whose signatures count: those in `.muse/keys`, and those added by `use`."""

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self._directory = layout.keys_directory(root)
        self._storage = storage
        self._root = root
        self._known: dict[str, Ed25519PublicKey | None] = {}

    def ids(self) -> Iterator[str]:
        """Yield the id of every key in `.muse/keys`, sorted."""
        for name, _ in self._storage.list_directory(self._directory):
            if name.endswith(_PUBLIC) and is_content_id(name.removesuffix(_PUBLIC)):
                yield name.removesuffix(_PUBLIC)

    def use(self, path: str) -> str:
        """Trust the public key in the PEM file `path` in this object only; return its id."""
        key = _load_public(path, self._storage)
        key_id = _key_id(key)
        self._known[key_id] = key
        return key_id

    def trust(self, path: str) -> tuple[str, bool]:
        """Copy the public key in the PEM file `path` to `.muse/keys`; return its id and whether it is new."""
        key = _load_public(path, self._storage)
        return self.add(_key_id(key), _public_pem(key))

    def add(self, key_id: str, pem: bytes) -> tuple[str, bool]:
        """Keep a public key under its id in `.muse/keys`; return the id, and whether it is new."""
        target = layout.public_key_file(self._root, key_id)
        is_new = not self._storage.exists(target)
        if is_new:
            self._storage.write_atomically(target, pem)
        return key_id, is_new

    def __bool__(self) -> bool:
        """Return whether any key is known here: then commits are expected to be signed."""
        return any(self._known.values()) or any(self.ids())

    def check_file(self, key_id: str) -> None:
        """Raise `CorruptionError` unless the file of a key in `.muse/keys` is as `add` wrote it."""
        path = layout.public_key_file(self._root, key_id)
        key = _load_public(path, self._storage)
        if _key_id(key) != key_id:
            raise CorruptionError(
                f"{path} holds another key, {_key_id(key)}: remove it, and trust the right key", path=path
            )
        if self._storage.read_bytes(path) != _public_pem(key):
            raise CorruptionError(
                f"{path} holds the right key, but 'muse key trust' writes other bytes: one was changed",
                path=path,
            )

    def check(self, record: CommitRecord, path: str) -> None:
        """Check the signature of a signed commit, stored at `path`.

        Raises `SignatureError` if it is not that of the record, `UnknownKeyError` if its key is not
        trusted here, `CorruptionError` if the stored key is damaged.
        """
        key_id = record["signer_key_id"]
        if not _SIGNATURE.match(record["signature"]) or not is_content_id(key_id):
            raise SignatureError(
                f"{path} has a bad signature or key id: 128 and 64 hex digits are expected",
                path=path,
            )
        key = self._find(key_id)
        if key is None:
            raise UnknownKeyError(
                f"{path} is signed with key {key_id}, which is not trusted here: see 'muse key trust'",
                key_id=key_id,
            )
        if not _holds(key, record):
            raise SignatureError(
                f"{path} has a wrong signature: its record is not the one that key {key_id} signed", path=path
            )

    def check_received(self, record: CommitRecord, what: str) -> None:
        """Raise `SignatureError` if a commit that came from elsewhere lost its signature, or has a wrong one.

        A signature is compared where its key is trusted here. Of other faults of keys `muse verify` tells.
        """
        check_signer(record, what)
        key_id = record["signer_key_id"]
        try:
            if is_content_id(key_id) and self._find(key_id) is not None:
                self.check(record, what)
        except SignatureError:
            raise
        except MuseError:
            return  # the key is damaged, or the library is not installed

    def _find(self, key_id: str) -> "Ed25519PublicKey | None":
        if key_id not in self._known:
            path = layout.public_key_file(self._root, key_id)
            key = None
            with suppress(NotFoundError):
                key = _load_public(path, self._storage)
            if key is not None and _key_id(key) != key_id:
                raise CorruptionError(
                    f"{path} holds another key, {_key_id(key)}: remove it, and trust the right key", path=path
                )
            self._known[key_id] = key
        return self._known[key_id]


def _holds(key: "Ed25519PublicKey", record: CommitRecord) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - the library is optional

    try:
        key.verify(bytes.fromhex(record["signature"]), signed_bytes(record))
    except InvalidSignature:
        return False
    return True


def _load_public(path: str, storage: Storage) -> "Ed25519PublicKey":
    ed25519, serialization = _library()
    data = _read_key(path, storage)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, _unsupported()) as error:
        raise CorruptionError(f"{path} is not a public key: {error}", path=path) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise CorruptionError(f"{path} is not an Ed25519 public key: name another file", path=path)
    return cast("Ed25519PublicKey", key)


def _read_key(path: str, storage: Storage) -> bytes:
    data = storage.read_bytes(path)
    if len(data) > _MAX_KEY_BYTES:
        raise CorruptionError(
            f"{path} has {len(data)} bytes: it is too long for a key: name another file", path=path
        )
    return data


def _public_pem(key: "Ed25519PublicKey") -> bytes:
    _, serialization = _library()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def _key_id(key: "Ed25519PublicKey") -> str:
    return sha256_hex(key.public_bytes_raw())


def _unsupported() -> type[Exception]:
    """Return what the library raises for keys of a kind it does not know."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - the library is optional

    return UnsupportedAlgorithm


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - the library is optional
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise SigningUnavailableError(
            "signatures need the library 'cryptography': pip install muse-oplog[sign]"
        ) from error
    return ed25519, serialization
