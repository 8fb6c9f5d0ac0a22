"""A signature covers all that a committer wrote, and only a trusted key's counts."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from muse.disk import layout
from muse.disk.storage import LOCAL
from muse.errors import CorruptionError, NotFoundError, StorageError, UsageError
from muse.history.commit_record import CommitRecord
from muse.history.signing import (
    SIGNED_FIELDS,
    SignatureError,
    Signer,
    SigningUnavailableError,
    TrustedKeys,
    UnknownKeyError,
    create_key,
    signed_bytes,
)
from tests.samples.sealed_sample import SealedSample


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return create_key(str(tmp_path / "ada.pem"))


@pytest.fixture
def signed(tmp_path: Path, signer: Signer) -> CommitRecord:
    """A signed record, whose key is trusted in `tmp_path`."""
    TrustedKeys(str(tmp_path)).add(signer.key_id, signer.public_pem())
    sample = SealedSample(tmp_path)
    return signer.sign(sample.record(sample.take_one[0]))


def changed(value: Any) -> Any:
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value, "x"]
    if isinstance(value, dict):
        return {**value, "x": "x"}
    return "x"


def test_a_signed_commit_keeps_its_id_and_is_checked_by_the_trusted_key(
    tmp_path: Path, signer: Signer, signed: CommitRecord
) -> None:
    assert signed["signer_key_id"] == signer.key_id
    assert len(signed["signature"]) == 128
    TrustedKeys(str(tmp_path)).check(signed, "commit")
    assert signer.sign(signed) == signed  # the same key and record give the same signature


@pytest.mark.parametrize("field", SIGNED_FIELDS)
def test_a_change_of_any_signed_field_is_found(tmp_path: Path, signed: CommitRecord, field: str) -> None:
    record: Any = {**signed, field: changed(signed[field])}  # type: ignore[literal-required]
    with pytest.raises(SignatureError):
        TrustedKeys(str(tmp_path)).check(record, "commit")


def test_notes_that_are_added_later_leave_the_signature_whole(tmp_path: Path, signed: CommitRecord) -> None:
    noted: Any = {**signed, "reviewed_by": ["bo"], "test_runs": 3, "seen": True}
    TrustedKeys(str(tmp_path)).check(noted, "commit")
    assert set(CommitRecord.__annotations__) - set(SIGNED_FIELDS) == {"signature", "reviewed_by", "test_runs"}


@pytest.mark.parametrize("place", [0, 63, 64, 127])
def test_a_changed_signature_is_found(tmp_path: Path, signed: CommitRecord, place: int) -> None:
    digit = "0" if signed["signature"][place] != "0" else "1"
    signature = signed["signature"][:place] + digit + signed["signature"][place + 1 :]
    with pytest.raises(SignatureError, match="has a wrong signature"):
        TrustedKeys(str(tmp_path)).check({**signed, "signature": signature}, "commit")


@pytest.mark.parametrize("signature", ["x", "0" * 127, "A" * 128, "é" * 128])
def test_a_signature_that_is_none_is_found(tmp_path: Path, signed: CommitRecord, signature: str) -> None:
    with pytest.raises(SignatureError, match="a bad signature or key id"):
        TrustedKeys(str(tmp_path)).check({**signed, "signature": signature}, "commit")
    with pytest.raises(SignatureError, match="a bad signature or key id"):
        TrustedKeys(str(tmp_path)).check({**signed, "signer_key_id": "../x"}, "commit")


def test_a_key_that_is_not_trusted_is_named_and_counts_once_it_is(
    tmp_path: Path, signed: CommitRecord
) -> None:
    other = create_key(str(tmp_path / "other.pem"))
    record = other.sign(signed)
    keys = TrustedKeys(str(tmp_path))
    with pytest.raises(UnknownKeyError, match=other.key_id) as caught:
        keys.check(record, "commit")
    assert caught.value.key_id == other.key_id
    public = tmp_path / "other.pub"
    public.write_bytes(other.public_pem())
    assert keys.use(str(public)) == other.key_id
    keys.check(record, "commit")
    assert keys.trust(str(public)) == (other.key_id, True)
    assert keys.trust(str(public)) == (other.key_id, False)
    TrustedKeys(str(tmp_path)).check(record, "commit")
    assert other.key_id in list(keys.ids())


def test_a_trusted_key_under_another_keys_name_is_found(tmp_path: Path, signed: CommitRecord) -> None:
    path = Path(layout.public_key_file(str(tmp_path), signed["signer_key_id"]))
    path.write_bytes(create_key(str(tmp_path / "other.pem")).public_pem())
    with pytest.raises(CorruptionError, match="another key"):
        TrustedKeys(str(tmp_path)).check(signed, "commit")


def test_a_private_key_is_for_its_owner_alone_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    signer = create_key(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        create_key(str(path))
    assert path.read_bytes() == before
    assert Signer.load(str(path)).key_id == signer.key_id
    with pytest.raises(StorageError):
        create_key(str(tmp_path / "nowhere" / "key.pem"))


def test_a_failed_write_leaves_no_half_of_a_key(tmp_path: Path) -> None:
    class Full(type(LOCAL)):  # type: ignore[misc]
        def write_all(self, _descriptor: int, _data: bytes) -> None:
            raise OSError(28, "full")

    with pytest.raises(StorageError, match="disk is full"):
        create_key(str(tmp_path / "key.pem"), Full())
    assert not (tmp_path / "key.pem").exists()


@pytest.mark.parametrize("data", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\n", b"x" * (1 << 17)])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "junk.pem"
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match=r"junk\.pem"):
        Signer.load(str(path))
    with pytest.raises(CorruptionError, match=r"junk\.pem"):
        TrustedKeys(str(tmp_path)).use(str(path))
    with pytest.raises(NotFoundError):
        Signer.load(str(tmp_path / "missing"))


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, signed: CommitRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    for call in (
        lambda: create_key(str(tmp_path / "new.pem")),
        lambda: Signer.load(str(tmp_path / "ada.pem")),
        lambda: TrustedKeys(str(tmp_path)).check(signed, "commit"),
    ):
        with pytest.raises(SigningUnavailableError, match=r"pip install muse-oplog\[sign\]"):
            call()


def test_what_is_signed_is_as_the_document_says(signed: CommitRecord) -> None:
    head, _, body = signed_bytes(signed).partition(b"\n")
    assert head == b"muse commit signature 1"
    expected = {name: signed[name] for name in sorted(SIGNED_FIELDS)}  # type: ignore[literal-required]
    text = json.dumps(expected, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert body == text.encode()
