"""Blobs: what is put is durable, what is got is what its name says."""

import hashlib
import os
from pathlib import Path

import pytest

from muse.core.file.objects import ObjectStore
from muse.disk.storage import Storage
from muse.errors import CorruptionError, NotFoundError, UsageError
from muse.testing import Fault, failing_at_every_call


def object_file(root: Path, object_id: str) -> Path:
    return root / ".muse" / "objects" / object_id[:2] / object_id[2:]


class RecordingStorage(Storage):
    """Notes what is renamed and what is synced, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._paths: dict[int, str] = {}

    def open(self, path: str, flags: int, mode: int = 0o666) -> int:
        descriptor = super().open(path, flags, mode)
        self._paths[descriptor] = path
        return descriptor

    def sync_data(self, descriptor: int) -> None:
        self.calls.append(f"sync {Path(self._paths[descriptor]).name}")
        super().sync_data(descriptor)

    def replace(self, source: str, target: str) -> None:
        self.calls.append(f"rename {Path(target).name}")
        super().replace(source, target)


def test_a_blob_is_stored_under_its_sha256_and_comes_back(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    object_id = store.put(b"take five")
    assert object_id == hashlib.sha256(b"take five").hexdigest()
    assert object_file(tmp_path, object_id).read_bytes() == b"take five"
    assert store.get(object_id) == b"take five"


def test_the_empty_blob_is_a_blob(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    assert store.get(store.put(b"")) == b""


def test_several_blobs_give_their_ids_in_order(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    contents = [b"a", b"b", b"a"]
    assert [store.get(object_id) for object_id in store.put_many(contents)] == contents
    assert store.put_many([]) == []


def test_a_blob_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    object_id = store.put(b"once")
    inode = object_file(tmp_path, object_id).stat().st_ino
    store.put(b"once")
    assert object_file(tmp_path, object_id).stat().st_ino == inode


@pytest.mark.parametrize("damage", [b"", b"oncf", b"once and more"])
def test_putting_a_damaged_blob_again_mends_it(tmp_path: Path, damage: bytes) -> None:
    store = ObjectStore(str(tmp_path))
    object_id = store.put(b"once")
    object_file(tmp_path, object_id).write_bytes(damage)
    store.put(b"once")
    assert store.get(object_id) == b"once"


def test_many_blobs_share_the_syncs_of_their_directories(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path), storage := RecordingStorage())
    store.put(b"first")  # makes the directories
    storage.calls.clear()
    ids = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(600)]
    assert store.put_many(b"%d" % number for number in range(600)) == ids
    syncs = [call for call in storage.calls if call.startswith("sync ")]
    assert len(syncs) == 600 + len({object_id[:2] for object_id in ids}) + 1
    last_rename = max(place for place, call in enumerate(storage.calls) if call.startswith("rename"))
    names = [call.partition(" ")[2] for call in storage.calls[last_rename + 1 :]]
    assert names == [*sorted({object_id[:2] for object_id in ids}), "objects"]


def test_bytes_are_synced_before_the_rename_and_both_directories_after(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path), storage := RecordingStorage())
    store.put(b"first")  # makes the directories
    storage.calls.clear()
    object_id = store.put(b"second")
    data, rename, fan_out, objects = storage.calls
    assert (rename, fan_out, objects) == (f"rename {object_id[2:]}", f"sync {object_id[:2]}", "sync objects")
    assert data.startswith("sync .")


def test_a_blob_another_writer_left_unsynced_is_synced_before_it_is_relied_on(tmp_path: Path) -> None:
    object_id = hashlib.sha256(b"foreign").hexdigest()
    object_file(tmp_path, object_id).parent.mkdir(parents=True)
    object_file(tmp_path, object_id).write_bytes(b"foreign")
    ObjectStore(str(tmp_path), storage := RecordingStorage()).put(b"foreign")
    assert storage.calls == [f"sync {object_id[2:]}", f"sync {object_id[:2]}", "sync objects"]


def test_a_missing_blob_is_not_found(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    with pytest.raises(NotFoundError, match="is not in this repository"):
        store.get("0" * 64)
    assert not store.has("0" * 64)


def test_a_damaged_blob_is_corruption_that_names_its_file(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    object_id = store.put(b"fine")
    object_file(tmp_path, object_id).write_bytes(b"fime")
    with pytest.raises(CorruptionError, match="damaged") as caught:
        store.get(object_id)
    assert caught.value.path == str(object_file(tmp_path, object_id))


@pytest.mark.parametrize("object_id", ["", "../" * 20, "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_64_hex_digits_name_a_blob(tmp_path: Path, object_id: str) -> None:
    with pytest.raises(UsageError):
        ObjectStore(str(tmp_path)).get(object_id)


def test_ids_lists_every_blob_in_order_and_nothing_else(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    assert list(store.ids()) == []
    object_ids = store.put_many(bytes([number]) for number in range(20))
    fan_out = object_file(tmp_path, object_ids[0]).parent
    (fan_out / f".x{'.tmp-'}1-1").write_bytes(b"left by a crash")
    (tmp_path / ".muse" / "objects" / "README").write_bytes(b"stray")
    assert list(store.ids()) == sorted(object_ids)


@pytest.mark.parametrize("fault", ["EIO", "short", "crash"])
def test_a_fault_at_any_call_leaves_no_half_blob_and_the_next_put_succeeds(
    tmp_path: Path, fault: Fault
) -> None:
    number = 0
    faults = 0

    def put(storage: Storage) -> None:
        nonlocal number
        number += 1
        ObjectStore(str(tmp_path / str(number)), storage).put_many([b"one" * 1000, b"two"])

    for raised in failing_at_every_call(put, fault):
        store = ObjectStore(str(tmp_path / str(number)))
        for object_id in store.ids():
            store.get(object_id)
        if not raised:
            assert len(list(store.ids())) == 2
        faults += raised
        first, second = store.put_many([b"one" * 1000, b"two"])
        assert (store.get(first), store.get(second)) == (b"one" * 1000, b"two")
    assert faults > 10


def test_a_link_in_the_place_of_a_blob_is_not_followed(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    object_id = store.put(b"real")
    (tmp_path / "elsewhere").write_bytes(b"real")
    object_file(tmp_path, object_id).unlink()
    os.symlink(tmp_path / "elsewhere", object_file(tmp_path, object_id))
    assert not store.has(object_id)
    store.put(b"real")
    assert not object_file(tmp_path, object_id).is_symlink()
