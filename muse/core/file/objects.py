"""Immutable blobs, each named by the SHA-256 of its bytes."""

import os.path
from collections.abc import Iterable, Iterator

from muse.core import content_id
from muse.disk import layout
from muse.disk.git_carry import trace_of_git
from muse.disk.storage import LOCAL, Storage
from muse.errors import CorruptionError, NotFoundError, raises_about

_FAN_OUT_DIGITS = 2


class ObjectStore:
    """The blobs of one repository, under `.muse/objects/<2 hex>/<62 hex>`.

    What `put` has returned is durable, and as young as if it were new, so that no collector takes it before
    something names it. What `get` returns has the bytes its name promises.
    """

    def __init__(self, root: str, storage: Storage = LOCAL) -> None:
        self._root = root
        self._storage = storage

    def put(self, content: bytes) -> str:
        """Store `content` and return its object id; nothing is rewritten if it is there already."""
        return self.put_many([content])[0]

    def put_many(self, contents: Iterable[bytes]) -> list[str]:
        """Store each content and return the object ids in the same order, all durable on return.

        A crash leaves some of them stored: harmless, as nothing refers to them yet.
        """
        directory = layout.objects_directory(self._root)
        self._storage.make_directories(directory, sync=True)
        fan_outs = set[str]()  # those with new names
        object_ids = [self._store(content, fan_outs) for content in contents]
        for fan_out in sorted(fan_outs):
            self._storage.sync_directory(fan_out)
        if object_ids:
            # One sync for every fan-out directory made here, or made earlier by a run that failed.
            self._storage.sync_directory(directory)
        return object_ids

    def _store(self, content: bytes, fan_outs: set[str]) -> str:
        object_id = content_id.object_id(content)
        path = layout.object_file(self._root, object_id)
        # A collector looks at an object's age and removes it while it holds this lock alone.
        with self._storage.locked(layout.objects_lock_file(self._root), exclusive=False):
            if self._is_stored(path, content) and self._storage.make_young(path):
                self._storage.make_durable(path)
            else:
                self._storage.make_directories(os.path.dirname(path))
                self._storage.write_atomically(path, content, sync_name=False)
                fan_outs.add(os.path.dirname(path))
        return object_id

    def _is_stored(self, path: str, content: bytes) -> bool:
        """Compare the bytes, not the size alone: a power cut can leave a file of zeros."""
        return self._storage.file_size(path) == len(content) and self._storage.read_bytes(path) == content

    @raises_about("object")
    def get(self, object_id: str) -> bytes:
        """Return the bytes of `object_id`.

        Raises `NotFoundError` if it is not stored and `CorruptionError` if its bytes are not what
        the id says.
        """
        path = layout.object_file(self._root, object_id)
        try:
            content = self._storage.read_bytes(path)
        except NotFoundError as error:
            raise NotFoundError(f"object {object_id} is not in this repository: {path} is missing") from error
        found = content_id.object_id(content)
        if found != object_id:
            raise CorruptionError(
                f"object {path} is damaged: its bytes hash to {found}{trace_of_git(content)}; "
                "restore it from another copy",
                path=path,
            )
        return content

    def has(self, object_id: str) -> bool:
        """Tell whether a file of that name is stored; its bytes are not looked at."""
        return self._storage.file_size(layout.object_file(self._root, object_id)) is not None

    def ids(self) -> Iterator[str]:
        """Yield the id of every stored object in order, one fan-out directory at a time."""
        directory = layout.objects_directory(self._root)
        for prefix, is_directory in self._storage.list_directory(directory):
            if is_directory and len(prefix) == _FAN_OUT_DIGITS:
                names = self._storage.list_directory(os.path.join(directory, prefix))
                found = (prefix + name for name, is_nested in names if not is_nested)
                yield from filter(content_id.is_content_id, found)
