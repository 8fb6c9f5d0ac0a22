"""A small repository with two sessions, two domains, stragglers and pending ops, for tests to damage."""

import json
from pathlib import Path
from typing import Any

from muse.core.op_log import make_op_entry
from muse.history.commit_record import CommitRecord
from muse.history.repository import Repository
from muse.history.signing import Signer
from muse.plugins.music.midi_file import Note
from muse.plugins.music.notes import insert_note
from muse.session.live import LiveSession

NOW = "2026-01-02T03:04:05+00:00"
TEXT = "text-domain-without-plugin"


def note_op(number: int) -> Any:
    return insert_note("song.mid", f"note-{number}", Note(60 + number % 12, 90, number * 480, 240))


class SealedSample:
    """`jam` has two commits of music and one of text, `talk` one of text; `pending` is an op of `jam`."""

    def __init__(self, root: Path, signer: Signer | None = None) -> None:
        self.root = root
        self.repository, _ = Repository.init(str(root), now=NOW, any_domain=True)
        with LiveSession(root, "jam", author="ada", signer=signer) as jam:
            self.first = [jam.edit(f"actor-{number % 2}", "music", note_op(number)) for number in range(5)]
            self.take_one = jam.commit("Take one").commit_ids
            self.second = [jam.edit("actor-1", "music", note_op(number)) for number in range(5, 8)]
            self.straggler = make_op_entry("actor-2", TEXT, {"op": "insert", "n": 1}, 1)
            jam.log.append(self.straggler)
            self.take_two = jam.commit("Take two").commit_ids
            self.pending = jam.edit("actor-1", "music", note_op(9))
        with LiveSession(root, "talk", author="bo", signer=signer) as talk:
            self.talk = talk.edit("bo", TEXT, {"op": "insert", "n": 2})
            self.talked = talk.commit("Talk").commit_ids

    @property
    def muse(self) -> Path:
        return self.root / ".muse"

    def ops_path(self, session_id: str = "jam") -> Path:
        return self.muse / "op_log" / session_id / "ops.jsonl"

    def commit_path(self, commit_id: str) -> Path:
        return self.muse / "commits" / f"{commit_id}.json"

    def record(self, commit_id: str) -> CommitRecord:
        return self.repository.dag.read_commit(commit_id)

    def rewrite(self, commit_id: str, **changes: Any) -> None:
        """Change fields of a stored commit, its file's name staying."""
        path = self.commit_path(commit_id)
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")
