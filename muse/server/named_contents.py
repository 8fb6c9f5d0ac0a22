"""What ops bring by naming it: a stored content costs an op what its bytes would."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from muse.disk import layout
from muse.errors import MuseError
from muse.history.repository import Repository
from muse.plugins.op_fields import content_named_by
from muse.server.faults import RequestError

_KNOWN = 4096


class NamedContents:
    """The sizes of stored contents that ops name."""

    def __init__(self, repository: Repository, at_once: int) -> None:
        self._root = repository.root
        self._storage = repository.storage
        self._at_once = at_once
        self._size_of_known = lru_cache(_KNOWN)(self._size)  # a content never changes

    def price(self, domain_ops: Iterable[Mapping[str, Any]]) -> int:
        """Return how many bytes ops bring that they do not carry, of contents that are here.

        `RequestError` if ops that name a content once more bring more of it than may come at once.
        """
        named = Counter(filter(None, map(content_named_by, domain_ops)))
        sizes = {content_id: self._size_of(content_id) for content_id in named}
        total = sum(sizes[content_id] * count for content_id, count in named.items())
        again = total - sum(sizes.values())
        if again > self._at_once:
            raise RequestError(
                413,
                f"ops bring stored contents again, of {again} bytes together: at most {self._at_once} bytes "
                "may be brought so at once; send fewer ops at a time",
            )
        return total

    def _size_of(self, content_id: str) -> int:
        try:
            return self._size_of_known(content_id)
        except MuseError:
            return 0

    def _size(self, content_id: str) -> int:
        size = self._storage.file_size(layout.object_file(self._root, content_id))
        if size is None:
            raise MuseError(content_id)  # it may come yet: that is not to be remembered
        return size
