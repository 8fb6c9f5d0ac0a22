"""A step: the ops that say one change of a file, and what is remembered of it once they are in the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from muse.core.entry import DEFAULT_LIMITS
from muse.core.op_ids import OP_IDS
from muse.errors import MuseError
from muse.workdir.base import BaseFile, read_row, row_json

_MUSIC_ENDS = (".mid", ".midi", ".kar", ".smf", ".rmi")

INLINE_BYTES = 1 << 19
"""A larger content is not in its op, but in the store."""


def is_music(path: str) -> bool:
    """Tell by the name of a file whether it holds MIDI."""
    return path.lower().endswith(_MUSIC_ENDS)


class LeftOutError(MuseError):
    """A file cannot be recorded; the message says why, and what to do."""


class NoTextError(LeftOutError):
    """A file that was a text is no longer one."""


def no_text_reason(path: str, encoding: str = "") -> str:
    """Say that a text turned into something else, and what to do."""
    return (
        f"it was a text{encoding} and is no longer one: it is left as it is. If that is meant, name it, "
        f"and it is recorded as a whole: 'muse record {path} --actor NAME'"
    )


@dataclass(slots=True)
class Step:
    """Ops on one file, each the cause of the next, and what becomes of the rows of the base.

    `stored` are contents that the ops name, which have to be in the store before them.
    """

    path: str
    domain: str
    ops: list[dict[str, Any]]
    after: dict[str, BaseFile | None]
    heads: Sequence[str] = ()
    stored: list[bytes] = field(default_factory=list)

    def drafts(self, intent_id: str) -> list[dict[str, Any]]:
        """Return the ops as a log takes them, with ids by which each is known if it comes again."""
        drafts: list[dict[str, Any]] = []
        parents = list(self.heads)[-DEFAULT_LIMITS.parents :]
        for op in self.ops:
            op_id = OP_IDS.next()
            drafts.append(
                {
                    "op_id": op_id,
                    "domain": self.domain,
                    "domain_op": op,
                    "parent_op_ids": parents,
                    "intent_id": intent_id,
                }
            )
            parents = [op_id]
        return drafts


def step_json(step: Step, drafts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a step as the plan has it: what it needs to be done again, or to its end."""
    last = (drafts[-1]["op_id"],) if drafts else ()
    after = {path: row and row_json(_following(row, last)) for path, row in step.after.items()}
    return {"path": step.path, "drafts": list(drafts), "after": after}


def _following(row: BaseFile, heads: tuple[str, ...]) -> BaseFile:
    """Return a row whose version is that of the last op, if there is one."""
    return msgspec.structs.replace(row, commit="", heads=heads) if heads else row


def rows_after(step: Mapping[str, Any]) -> dict[str, BaseFile | None]:
    """Return what becomes of the rows of the base once a step of the plan is done."""
    return {
        path: None if row is None else read_row(row, row["version"], "the plan")
        for path, row in step["after"].items()
    }
