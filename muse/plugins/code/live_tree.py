"""A tree of files while live edits come into it, in any order. Pure.

Each rule here is a function of the set of edits, not of their order. Texts merge as documents do. Of two
moves or two binary contents, the later one in the total order wins. A removal holds if its author saw all of
the file.
"""

import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from muse.core.content_id import object_id
from muse.errors import DomainError
from muse.plugins.code.document import TextDocument, patch_between
from muse.plugins.code.encodings import check_text, decode, detect
from muse.plugins.code.file_ids import INDEX, Placement, Stamp, ids_of, is_id_of, read_index, read_stamp
from muse.plugins.code.names import LivePlaces
from muse.plugins.code.ops import AbsentCauseError, Cause, CodeOp, encoded, fetched, own_stamp
from muse.plugins.code.update import (
    Update,
    client_of,
    covers,
    read_update,
    read_vector,
    write_insert,
    write_vector,
)
from muse.plugins.op_fields import Fetch

IN_TREE: Stamp = (0, "", "")


@dataclass(slots=True)
class LiveFile:
    """A file that was edited live. A binary file has no `encoding`, and `content` in place of a text.

    `removals` say what each actor that removed it had seen: the state vector of the text, or the content,
    and which removals of a content were taken back.
    `blob` is the object that the tree was given last. `bases` are the objects that came from outside, `base`
    is one that did so since the state was stored.
    """

    file_id: str
    encoding: str | None
    born: Stamp
    written: Stamp
    document: TextDocument | None = None
    content: bytes = b""
    removals: set[str] = field(default_factory=set)
    blob: str = ""
    base: str = ""
    bases: set[str] = field(default_factory=set)
    _overtaken: set[str] = field(default_factory=set, compare=False)  # removals that had not seen all

    def based_on(self, blob: str) -> None:
        """Note that a change from outside is in the file."""
        self.blob = self.base = blob
        self.bases.add(blob)

    def seen(self) -> str:
        """Return what a removal made now has seen: all of the file."""
        if self.document is None:
            return _removed(object_id(self.content), self.lifts)
        return encoded(write_vector(self.document.vector))

    @property
    def lifts(self) -> int:
        """How often a removal of the binary file, with its present content, was taken back."""
        content_id, count = object_id(self.content), 0
        while _lift(content_id, count + 1) in self.removals:
            count += 1
        return count

    @property
    def is_removed(self) -> bool:
        """Whether an actor that removed the file had seen all that was ever written to it."""
        if self.document is None:
            return self.seen() in self.removals
        for seen in self.removals - self._overtaken:
            if covers(read_vector(_decoded(seen)), self.document.vector):
                return True
            self._overtaken.add(seen)  # what was written stays written
        return False

    def whole(self) -> bytes:
        """Return the bytes of the file as it is now."""
        if self.document is None or self.encoding is None:
            return self.content
        return self.document.text.encode(self.encoding)

    def require_document(self, path: str) -> TextDocument:
        """Return the document of a text; raise `DomainError` for any other file."""
        if self.document is None:
            raise DomainError(f"{path!r} is not a text: it can be replaced as a whole")
        return self.document


class LiveTree:
    """The files of a tree, those edited live with all that their merging needs.

    `files` and `state` are as a commit left them and are not changed. `seed` names the actor that edits
    through this tree: edits of two trees must never have the same seed. Where edits are made at one place at
    the same time, those of a lower `rank` (0 to 4095) come first; None leaves their order to chance.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        state: Mapping[str, bytes],
        fetch: Fetch,
        seed: str,
        rank: int | None = None,
    ) -> None:
        self.files = files
        self.fetch = fetch
        self._state = state
        self._seed = seed
        self._rank = rank
        self.placements = read_index(state)
        self._live: dict[str, LiveFile] = {}
        self._shown = {one.shown for one in self.placements.values() if one.shown is not None}
        self._names: LivePlaces | None = None
        self.on_opened: Callable[[LiveFile, str], None] | None = None
        for file_id, placement in list(self.placements.items()):
            if placement.shown is not None and placement.shown not in files:
                self.file(file_id)  # it was removed from outside

    def _client(self, file_id: str) -> int:
        """Return the client id of this tree's edits in a file; edits of a lower one come first."""
        client = client_of(self._seed, file_id)
        return client if self._rank is None else self._rank << 40 | client & (1 << 40) - 1

    # -- finding --------------------------------------------------------------------------------

    def opened(self) -> list[str]:
        """Return the ids of the files that were looked into."""
        return list(self._live)

    def file(self, file_id: str) -> LiveFile:
        """Return a live file. Raises `AbsentCauseError` for an unknown id."""
        found = self._live.get(file_id)
        if found is not None:
            return found
        if file_id not in self.placements:
            raise AbsentCauseError(
                f"no file {file_id} is here: the op that made it has not arrived", Cause(file_id)
            )
        found = self._live[file_id] = self._read(file_id)
        self._opened_from_tree(found)
        return found

    def places(self) -> dict[str, str]:
        """Return file id -> path of every live file that is not removed."""
        return self._placed().paths

    def _placed(self) -> LivePlaces:
        if self._names is None:
            fixed = [path for path in self.files if path not in self._shown]
            present = [file_id for file_id, one in self.placements.items() if self._is_shown(file_id, one)]
            self._names = LivePlaces(fixed, map(self._wish, present))
        return self._names

    def _wish(self, file_id: str) -> tuple[Stamp, str, str]:
        placement = self.placements[file_id]
        return own_stamp(placement.stamp), file_id, placement.path

    def _place(self, file_id: str, *, is_moved: bool = False) -> None:
        """Bring the place of a file up to date that came or went, or that `is_moved`."""
        names, is_shown = self._names, self._is_shown(file_id, self.placements[file_id])
        if names is None or (is_shown == (file_id in names.paths) and not is_moved):
            return
        is_done = file_id not in names.paths or names.remove(file_id)
        if not (is_done and (not is_shown or names.add(self._wish(file_id)))):
            self._names = None

    def _is_shown(self, file_id: str, placement: Placement) -> bool:
        live = self._live.get(file_id)
        return placement.shown is not None if live is None else not live.is_removed

    def file_at(self, path: str) -> str | None:
        """Return the id of the live file at `path`, opened: a change from outside may have removed it."""
        while True:
            file_id = self._placed().by_path.get(path)
            if file_id is None or file_id in self._live:
                return file_id
            self.file(file_id)

    def paths(self) -> list[str]:
        """Return the paths of all files, sorted."""
        fixed = (path for path in self.files if path not in self._shown)
        return sorted({*fixed, *self.places().values()})

    def is_taken(self, path: str) -> bool:
        """Return whether a file is at `path`, as far as those know that were looked into."""
        return path in self._placed().by_path or (path in self.files and path not in self._shown)

    def has(self, path: str) -> bool:
        """Return whether a file is at `path` now."""
        return self.file_at(path) is not None or (path in self.files and path not in self._shown)

    def content(self, path: str) -> bytes | None:
        """Return the content of the file that is at `path` now, or None."""
        file_id = self.file_at(path)
        if file_id is not None:
            return self.file(file_id).whole()
        return self.files.get(path) if path in self.files and path not in self._shown else None

    def open(self, path: str) -> tuple[LiveFile, str]:
        """Return the file at `path`; one that is not live becomes live, and its blob is returned too."""
        file_id = self.file_at(path)
        if file_id is not None:
            return self.file(file_id), ""
        if path not in self.files or path in self._shown:
            raise DomainError(f"there is no file {path!r}: it was removed or moved, or never made")
        base = object_id(self.files[path])
        file_id = next(known for known in ids_of(path, base) if known not in self.placements)
        return self._begin(file_id, path, base), base

    # -- taking in ------------------------------------------------------------------------------

    def take(self, stamp: Stamp, op: CodeOp) -> None:
        """Take in an op that names its file. To take it in again changes nothing.

        Raises `AbsentCauseError` for an op that can be taken in once its causes are here, `DomainError` for
        an op that has no effect.
        """
        if op.kind == "create":
            self._create(stamp, op)
            return
        file = self._opened(op)
        placement = self.placements[file.file_id]
        if op.kind == "move":
            if (stamp := op.stamp(stamp)) > placement.stamp:
                self.placements[file.file_id] = Placement(stamp, op.to_path, placement.shown)
                self._place(file.file_id, is_moved=True)
        elif op.kind == "remove":
            self._remove(file, op)
        elif op.update is not None:
            self._write(file, op)
        else:
            self._replace(stamp, file, op)

    def _opened(self, op: CodeOp) -> LiveFile:
        if not op.base:
            return self.file(op.file_id)
        if op.file_id not in self.placements and is_id_of(op.file_id, op.path, op.base):
            return self._begin(op.file_id, op.path, op.base)
        file = self.file(op.file_id)
        if op.base not in file.bases:
            content = fetched(op.base, self.fetch)
            if op.file_id in self._state:  # the author met a tree that another has replaced since
                before = self._read(op.file_id)
                is_text = before.encoding is not None and _holds(content, before.encoding)
                if is_text and (change := _change(before, content)) is not None and file.document:
                    file.document.apply(change)
                    self._place(file.file_id)  # a removal may not have seen that
                file.bases.add(op.base)
        return file

    def _write(self, file: LiveFile, op: CodeOp) -> None:
        document, update = file.require_document(op.path), op.update
        if update is None or file.encoding is None:
            raise DomainError(f"{op.path!r} is a text: its change needs an `update`")
        if (lack := update.first_lack(document.vector)) is not None:
            raise AbsentCauseError(
                f"what this edit of {op.path!r} builds on has not arrived", Cause(file.file_id, *lack)
            )
        if (whole := document.split_by(update)) is not None:
            raise AbsentCauseError(
                f"this edit of {op.path!r} cuts a character in two that is still there",
                Cause(file.file_id, *whole, goes=True),
            )
        check_text(update.text, file.encoding)
        document.apply(update)
        if file.removals:
            self._place(file.file_id)

    def _replace(self, stamp: Stamp, file: LiveFile, op: CodeOp) -> None:
        content = op.whole(self.fetch)
        if file.document is not None:
            raise DomainError(f"{op.path!r} is a text: its change needs an `update`")
        if (stamp := op.stamp(stamp)) > file.written:
            file.content, file.written = content, stamp
        if op.lifts:
            file.removals.add(_lift(object_id(content), op.lifts))
        self._place(file.file_id)

    def _remove(self, file: LiveFile, op: CodeOp) -> None:
        if file.document is None:
            seen = op.content_id and _removed(op.content_id, op.lifts)
        elif op.seen is not None:
            seen = encoded(write_vector(op.seen))
        else:
            raise DomainError(f"{op.path!r} is a text: its removal needs `seen`")
        if not seen:
            raise DomainError(f"the removal of {op.path!r} needs the `content_id` that was seen")
        file.removals.add(seen)
        self._place(file.file_id)

    def _create(self, stamp: Stamp, op: CodeOp) -> None:
        if op.file_id in self.placements:
            if self.file(op.file_id).born != stamp:
                raise DomainError(f"the file id {op.file_id} is in use: make a fresh one")
            return
        content = op.whole(self.fetch)
        self._add(op.file_id, stamp, op.path, content, op.encoding_of(content))
        self._place(op.file_id)

    def _begin(self, file_id: str, path: str, base: str) -> LiveFile:
        """Make a file of the tree live, as it was in `base`, and take in what was changed since."""
        content = self.files.get(path)
        if content is None or object_id(content) != base:
            content = fetched(base, self.fetch)
        shown = None if path in self._shown else path
        file = self._add(file_id, IN_TREE, path, content, detect(content))
        file.based_on(base)
        self.placements[file_id].shown = shown
        if shown is not None:
            self._shown.add(shown)
        if shown not in self.files or not (self._names and self._names.adopt(file_id, path)):
            self._names = None
        self._opened_from_tree(file)
        return file

    def _add(self, file_id: str, stamp: Stamp, path: str, content: bytes, encoding: str | None) -> LiveFile:
        file = LiveFile(file_id, encoding, stamp, stamp)
        if encoding is None:
            file.content = content
        else:
            file.document = TextDocument(self._client(file_id))
            text = decode(content, encoding)
            if text:
                file.document.apply(read_update(write_insert(client_of(file_id), 0, None, None, text)))
        self._live[file_id] = file
        self.placements[file_id] = Placement(stamp, path)
        return file

    def _opened_from_tree(self, file: LiveFile) -> None:
        path = self.placements[file.file_id].shown
        self._settle(file)
        if self.on_opened is not None:
            self.on_opened(file, path or "")

    def _settle(self, file: LiveFile) -> None:
        """Take in a change of the tree that was made from outside, by no op of this domain."""
        placement = self.placements[file.file_id]
        if placement.shown is None:
            return
        content = self.files.get(placement.shown)
        blob = "" if content is None else object_id(content)
        if content is None or (file.encoding and not _holds(content, file.encoding)):
            file.removals.add(file.seen())
            self._shown.discard(placement.shown)
            placement.shown = None
            self._names = None
        elif blob != file.blob:
            if file.document is None:
                file.content = content
            elif (change := _change(file, content)) is not None:
                file.document.apply(change)
            if file.removals:
                self._place(file.file_id)
            file.based_on(blob)

    # -- outcome --------------------------------------------------------------------------------

    def keep_texts(self) -> None:
        """See to it that the state of each text, read again, reads as the text does now.

        It may not where an edit names neighbours that are not beside each other: as raw ops do whose author
        knew nothing of what was deleted between them. The library then takes the order of the clients. An
        edit that is the same wherever it is made brings the order of now back.
        """
        for file_id in self.places().keys() & self._live.keys():
            file = self._live[file_id]
            if file.document is None or not file.document.has_changed:
                continue
            again = TextDocument(self._client(file_id), file.document.state())
            if again.text != file.document.text:
                client = client_of(file_id, "order", object_id(again.state()))
                again.apply(
                    read_update(again.fork(client).edit(patch_between(again.text, file.document.text)))
                )
                file.document = again

    def changed_files(self) -> dict[str, bytes | None]:
        """Return what differs from the tree: path -> content, None for one that is gone."""
        places = self.places()
        changed: dict[str, bytes | None] = {}
        for file_id, placement in self.placements.items():
            if placement.shown is not None and places.get(file_id) != placement.shown:
                changed[placement.shown] = None
        for file_id, path in places.items():
            shown = self.placements[file_id].shown
            if file_id in self._live:
                changed[path] = self._live[file_id].whole()
            elif path != shown and shown is not None:
                changed[path] = self.files[shown]
        return {path: content for path, content in changed.items() if content != self.files.get(path)}

    def changed_state(self) -> dict[str, bytes | None]:
        """Return what differs from the state: name -> bytes."""
        places = self.places()
        found: dict[str, bytes | None] = {}
        for file_id, file in self._live.items():
            blob = object_id(file.whole()) if file_id in places else ""
            found[file_id] = _write_file(file, blob)
        shown = {
            file_id: replace(placement, shown=places.get(file_id))
            for file_id, placement in self.placements.items()
        }
        if shown:
            found[INDEX] = _write_index(shown)
        return {name: data for name, data in found.items() if data != self._state.get(name)}

    # -- as bytes -------------------------------------------------------------------------------

    def _read(self, file_id: str) -> LiveFile:
        head, _, body = self._state[file_id].partition(b"\n")
        header = json.loads(head)
        file = LiveFile(
            file_id,
            header["encoding"],
            read_stamp(header["born"]),
            read_stamp(header["written"]),
            removals=set(header["removals"]),
            blob=header["blob"],
            bases=set(header["bases"]),
        )
        if file.encoding is None:
            file.content = body
        else:
            file.document = TextDocument(self._client(file_id), body)
        return file


def _removed(content_id: str, lifts: int) -> str:
    """Say that a binary content was removed, after removals of it were taken back so often."""
    return f"{content_id}+{lifts}" if lifts else content_id


def _lift(content_id: str, number: int) -> str:
    """Say that a removal of a binary content was taken back, for the first or a further time."""
    return f"-{content_id}+{number}"


def _write_file(file: LiveFile, blob: str) -> bytes:
    header = {
        "encoding": file.encoding,
        "born": file.born,
        "written": file.written,
        "removals": sorted(file.removals),
        "blob": blob,
        "bases": sorted(file.bases),
    }
    body = file.content if file.document is None else file.document.state()
    return _json(header) + b"\n" + body


def _write_index(placements: Mapping[str, Placement]) -> bytes:
    return _json(
        {
            file_id: (placement.stamp, placement.path, placement.shown)
            for file_id, placement in placements.items()
        }
    )


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _decoded(text: str) -> bytes:
    return binascii.a2b_base64(text)


def _holds(content: bytes, encoding: str) -> bool:
    try:
        decode(content, encoding)
    except DomainError:
        return False
    return True


def _change(file: LiveFile, content: bytes) -> Update | None:
    """Return the edit that makes a text be `content`: the same wherever it is made. None for no edit."""
    if file.document is None or file.encoding is None:
        return None
    patches = patch_between(file.document.text, decode(content, file.encoding))
    data = file.document.fork(client_of(file.file_id, file.blob, object_id(content))).edit(patches)
    return read_update(data) if data else None
