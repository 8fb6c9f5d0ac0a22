"""Makes the ops of what was done to MIDI files, note by note where that says all."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from muse.core.content_id import object_id
from muse.domain import PatchOp
from muse.errors import DomainError
from muse.plugins.music.identified_score import IdentifiedScore, Placed, identify, renamed_page, sound_of
from muse.plugins.music.matching import matched_notes
from muse.plugins.music.midi_bytes import decode
from muse.plugins.music.midi_file import notes_of
from muse.plugins.music.notes import (
    delete_file,
    delete_note,
    insert_file,
    insert_note,
    one_patch,
    rename_file,
    replace_file,
)
from muse.plugins.music.squash import change_note
from muse.plugins.op_fields import parents_of
from muse.workdir.base import BaseFile, BaseStore
from muse.workdir.newest import MUSIC, Newest
from muse.workdir.step import INLINE_BYTES, LeftOutError, Step

_NOTES_IN_AN_OP = 1_000
_PAGE_BYTES = 1 << 18


class MusicSteps:
    """Makes steps for MIDI files, from their base and the newest state of a session."""

    def __init__(self, newest: Newest, store: BaseStore) -> None:
        self._newest = newest
        self._store = store
        self._was: dict[str, str] = {}

    def create(self, path: str, content: bytes) -> Step:
        """Make a new file."""
        _read(content, None)
        if path in self._newest.digests:
            raise LeftOutError(
                f"others made another file {path} meanwhile, and MIDI files are merged only with what they "
                "were before: move yours to another name, then theirs is brought"
            )
        is_inline = len(content) <= INLINE_BYTES
        op = insert_file(path, content, inline=is_inline)
        row = BaseFile(self._store.keep(content))
        return self._step(path, [op], {path: row}, [] if is_inline else [content])

    def change(self, path: str, row: BaseFile, content: bytes) -> Step:
        """Say what was done to a file since its base, and leave alone what others did to it."""
        base = self._base(path, row)
        if base is None or self._place(path) not in self._newest.digests:
            return self.create(path, content)
        before, mine = _identified(*base), _read(content, base[1])
        if before is None or before.read.file.is_overlong or mine.read.file.is_overlong:
            return self._put_over(path, row, content)
        names = matched_notes(before.notes, mine.notes, mine.read.file.ticks_per_beat)
        names |= {name: uuid.uuid4().hex for name in mine.notes if name not in names}
        notes = {names[name]: placed for name, placed in mine.notes.items()}
        patches = _note_ops(path, before.notes, notes, self._present(path).notes)
        page = renamed_page(content, _renaming(content, mine, names))
        after = BaseFile(self._store.keep(content), part=self._store.keep(page))
        if patches and _frame(before) == _frame(mine):
            ops: list[Any] = _joined(path, patches)
            if path in self._was:
                ops = [{**op, "expected": {}} for op in ops]
            return self._step(path, ops, {path: after})
        return self._replace(path, row.digest, before, (content, notes), after)

    def remove(self, path: str, row: BaseFile) -> Step:
        """Remove a file, unless others changed it since."""
        content = self._newest.content(path)
        if content is None or object_id(content) != row.digest:
            return self._step(path, [], {path: None})
        op = {**delete_file(path, content), "expected": {"content_id": row.digest}}
        return self._step(path, [op], {path: None})

    def rename(self, path: str, to: str, row: BaseFile) -> Step:
        """Give a file another path; its notes keep their names, also if it is changed next."""
        if path not in self._newest.digests or to in self._newest.digests:
            raise LeftOutError(
                f"{path} was renamed to {to}, but others removed or renamed the one, or made the other: move "
                "yours to another name"
            )
        base = self._base(path, row)
        page = base[1] if base is not None else None
        part = self._store.keep(page) if page is not None else ""
        after = msgspec.structs.replace(row, commit="", part=part)
        self._was[to] = path
        places = [path, to]
        if path in parents_of(to) or to in parents_of(path):  # neither can be while the other is
            places.insert(1, f"{uuid.uuid4().hex}.mid")
        ops = [rename_file(*both) for both in pairwise(places)]
        return self._step(to, ops, {path: None, to: after})

    def row_of(self, path: str) -> BaseFile:
        """Return what is to be remembered of a file that is as the session has it now."""
        digest = self._newest.digests[path]
        if self._newest.is_committed(path):
            return BaseFile(digest, commit=self._newest.head or "")
        content, page = self._newest.files[path], self._newest.names_of(path)
        self._store.keep(content)
        part = self._store.keep(page) if page is not None else ""
        return BaseFile(digest, part=part, heads=self._newest.heads(MUSIC))

    def content_of(self, path: str, row: BaseFile) -> bytes | None:
        """Return the content that a file had in its base; None if that is lost."""
        base = self._base(path, row)
        return None if base is None else base[0]

    def _place(self, path: str) -> str:
        """Return where a file is in the session: it may be renamed by a step of before."""
        return self._was.get(path, path)

    def _base(self, path: str, row: BaseFile) -> tuple[bytes, bytes | None] | None:
        """Return a file, and the page of its names, as they were in the base; None if that is lost."""
        path = self._place(path)
        if self._newest.digests.get(path) == row.digest:
            return self._newest.files[path], self._newest.names_of(path)
        content = self._store.part(row.digest)
        if content is None:
            return None
        page = self._newest.committed_names(path, row.commit) if row.commit else self._store.part(row.part)
        return content, page

    def _present(self, path: str) -> IdentifiedScore:
        place = self._place(path)
        score = _identified(self._newest.files[place], self._newest.names_of(place))
        if score is None:
            raise LeftOutError(
                f"others put what is no MIDI file in the place of {path} since you had it: move yours to "
                "another name, then theirs is brought"
            )
        return score

    def _put_over(self, path: str, row: BaseFile, content: bytes) -> Step:
        """Put a MIDI file in the place of one whose notes take no edit, or of no MIDI file at all."""
        present = self._place(path)
        if self._newest.digests.get(present) != row.digest:
            raise LeftOutError(
                f"others changed {path} since you had it, and it is no MIDI file whose notes can be edited: "
                "move yours to another name, then theirs is brought"
            )
        is_inline = len(content) <= INLINE_BYTES
        op: dict[str, Any] = {**replace_file(path, self._newest.files[present], content, inline=is_inline)}
        op["expected"] = {"content_id": row.digest}
        after = BaseFile(self._store.keep(content))
        return self._step(path, [op], {path: after}, [] if is_inline else [content])

    def _replace(
        self,
        path: str,
        digest: str,
        before: IdentifiedScore,
        mine: tuple[bytes, Mapping[str, Placed]],
        after: BaseFile,
    ) -> Step:
        """Replace the whole file, since more than notes changed; what others did to notes goes into it."""
        content, notes = mine
        page = self._store.part(after.part)
        whole = _read(content, page)
        present = self._newest.files[self._place(path)]
        if object_id(present) != digest:
            theirs = self._present(path)
            if _frame(theirs) != _frame(before):
                raise LeftOutError(
                    f"others changed more than notes of {path} since you had it, and so did "
                    "you: move yours to another name, then theirs is brought"
                )
            _merge(before.notes, theirs.notes, notes, whole)
            content, page = whole.data(), whole.page()
        is_inline = len(content) + len(page or b"") <= INLINE_BYTES
        op: dict[str, Any] = {**replace_file(path, present, content, inline=is_inline)}
        op["expected"] = {"content_id": object_id(present)}
        if page is not None and len(page) <= _PAGE_BYTES:
            op["names"] = page.decode()
        return self._step(path, [op], {path: after}, [] if is_inline else [content])

    def _step(
        self,
        path: str,
        ops: Sequence[Any],
        after: dict[str, BaseFile | None],
        stored: Sequence[bytes] = (),
    ) -> Step:
        return Step(path, MUSIC, list(ops), after, self._newest.heads(MUSIC), list(stored))


def sounds_in(content: bytes) -> Counter[tuple[int, ...]]:
    """Count the notes of a MIDI file by their tracks and how they sound; none are in what is no such file."""
    try:
        return Counter((track, *sound_of(note)) for track, note in notes_of(content))
    except DomainError:
        return Counter()


def midi_fault(content: bytes) -> str | None:
    """Say why a content cannot be that of a MIDI file; None if it can."""
    try:
        decode(content)
    except DomainError as error:
        return str(error)
    return None


def _identified(content: bytes, page: bytes | None) -> IdentifiedScore | None:
    """Return the notes of what the session has; None for what is no MIDI file: ops of texts name it, too."""
    try:
        return identify(content, page)
    except DomainError:
        return None


def _read(content: bytes, page: bytes | None) -> IdentifiedScore:
    try:
        return identify(content, page)
    except DomainError as error:
        raise LeftOutError(str(error)) from error


def _renaming(content: bytes, mine: IdentifiedScore, names: Mapping[str, str]) -> dict[str, str]:
    """Return for the names derived from the content the lasting ones."""
    derived = identify(content, None).read.places
    by_place = {place: name for name, place in mine.read.places.items()}
    return {name: names[by_place[place]] for name, place in derived.items()}


def _frame(score: IdentifiedScore) -> tuple[Any, ...]:
    """Return all of a file but its notes, and where its tracks end."""
    file = score.read.file
    return (file.format, file.ticks_per_beat, len(file.tracks), file.header_rest, score.read.others())


def _note_ops(
    path: str, before: Mapping[str, Placed], after: Mapping[str, Placed], present: Mapping[str, Placed]
) -> list[PatchOp]:
    """Return the ops that turn the notes of the base into those of now, as far as others left them there.

    A note that was changed here, and that others deleted, is a new note: no change is without effect.
    """
    ops: list[PatchOp] = []
    for name, placed in before.items():
        if name not in after:
            ops += [delete_note(path, name, placed[1])] if name in present else []
        elif after[name] != placed and name in present:
            ops.append(change_note(path, name, placed, after[name]))
    for name, (track, note) in after.items():
        if name not in before:
            ops.append(insert_note(path, name, note, track=track))
        elif name not in present and before[name] != (track, note):
            ops.append(insert_note(path, uuid.uuid4().hex, note, track=track))
    return ops


def _joined(path: str, patches: Sequence[PatchOp]) -> list[PatchOp]:
    starts = range(0, len(patches), _NOTES_IN_AN_OP)
    groups = (patches[start : start + _NOTES_IN_AN_OP] for start in starts)
    return [group[0] if len(group) == 1 else one_patch(path, group) for group in groups]


def _merge(
    before: Mapping[str, Placed],
    theirs: Mapping[str, Placed],
    mine: Mapping[str, Placed],
    whole: IdentifiedScore,
) -> None:
    """Put into a file what others did to its notes since the base, unless the same note was changed here."""
    for name in before.keys() | theirs.keys():
        if theirs.get(name) == before.get(name) or mine.get(name) != before.get(name):
            continue
        placed = theirs.get(name)
        if placed is None:
            whole.notes.pop(name, None)
        else:
            whole.place(name, *placed)
