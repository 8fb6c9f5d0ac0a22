"""Muse op log: live edits, appended the moment they happen, collapsed into a verifiable history.

What a program may use is in `__all__`. Each name is imported when it is first used, so that `import muse`
costs milliseconds. Clients of a server need the extra `client`, texts the extra `code`.
"""

from muse.compat.lazy import TYPE_CHECKING, lazy_names
from muse.compat.moved import find_moved_modules

__version__ = "0.1.0"

__all__ = [
    "Ack",
    "AsyncClient",
    "Client",
    "CodeReplica",
    "CommitOutcome",
    "ConflictError",
    "CorruptionError",
    "Cut",
    "DeleteOp",
    "DomainError",
    "DomainOp",
    "DomainPlugin",
    "DurabilityError",
    "FieldMutation",
    "GuardedLog",
    "HandEditedError",
    "InsertOp",
    "InvalidEntryError",
    "LiveSession",
    "LocalPeer",
    "LostCommitError",
    "MoveOp",
    "MuseError",
    "MutateOp",
    "NotFoundError",
    "Note",
    "OpEntry",
    "OpLog",
    "OpLogCheckpoint",
    "PatchOp",
    "PluginError",
    "Policy",
    "Receipt",
    "RemotePeer",
    "ReplaceOp",
    "Repository",
    "Settings",
    "ShortWriteError",
    "Signer",
    "StorageError",
    "StructuredDelta",
    "UsageError",
    "Watcher",
    "Workdir",
    "__version__",
    "blame_file",
    "by_actor",
    "by_intent",
    "by_op",
    "clone",
    "delete_file",
    "delete_note",
    "identified_notes",
    "insert_file",
    "insert_note",
    "list_sessions",
    "make_op_entry",
    "move_note",
    "mutate_note",
    "one_patch",
    "prove",
    "pull",
    "push",
    "read_midi",
    "read_policy",
    "rename_file",
    "repair_from",
    "replace_file",
    "replace_note",
    "serve",
    "sync_sessions",
    "text_edit",
    "undo",
    "verify_repository",
    "write_midi",
    "write_policy",
]

if TYPE_CHECKING:
    from muse.checks.verify import verify_repository
    from muse.client.blocking import Client, RemotePeer
    from muse.client.client import AsyncClient
    from muse.client.ops import Ack
    from muse.core.coverage import Cut, OpLogCheckpoint
    from muse.core.entry import OpEntry
    from muse.core.op_log import OpLog, list_sessions, make_op_entry
    from muse.domain import (
        DeleteOp,
        DomainOp,
        DomainPlugin,
        FieldMutation,
        InsertOp,
        MoveOp,
        MutateOp,
        PatchOp,
        ReplaceOp,
        StructuredDelta,
    )
    from muse.errors import (
        ConflictError,
        CorruptionError,
        DomainError,
        DurabilityError,
        InvalidEntryError,
        MuseError,
        NotFoundError,
        PluginError,
        ShortWriteError,
        StorageError,
        UsageError,
    )
    from muse.history.repository import Repository
    from muse.history.signing import Signer
    from muse.plugins.code.ops import text_edit
    from muse.plugins.music.identified_score import identified_notes
    from muse.plugins.music.midi_file import Note, read_midi, write_midi
    from muse.plugins.music.notes import (
        delete_file,
        delete_note,
        insert_file,
        insert_note,
        move_note,
        mutate_note,
        one_patch,
        rename_file,
        replace_file,
        replace_note,
    )
    from muse.replication.local_peer import LocalPeer
    from muse.replication.repair import repair_from
    from muse.replication.sync import sync_sessions
    from muse.replication.transfer import clone, pull, push
    from muse.server.run import serve
    from muse.server.settings import Settings
    from muse.session.commit import CommitOutcome, HandEditedError
    from muse.session.guarded_log import GuardedLog
    from muse.session.live import LiveSession
    from muse.session.policy import Policy, read_policy, write_policy
    from muse.session.receipt import Receipt
    from muse.session.recovery import LostCommitError
    from muse.session.text_replica import CodeReplica
    from muse.views.blame import blame_file
    from muse.views.prove import prove
    from muse.views.undo import by_actor, by_intent, by_op, undo
    from muse.workdir.watch import Watcher
    from muse.workdir.workdir import Workdir

_HOMES = {
    "muse.checks.verify": "verify_repository",
    "muse.client.blocking": "Client RemotePeer",
    "muse.client.client": "AsyncClient",
    "muse.client.ops": "Ack",
    "muse.core.coverage": "Cut OpLogCheckpoint",
    "muse.core.entry": "OpEntry",
    "muse.core.op_log": "OpLog list_sessions make_op_entry",
    "muse.domain": (
        "DeleteOp DomainOp DomainPlugin FieldMutation InsertOp MoveOp MutateOp PatchOp ReplaceOp "
        "StructuredDelta"
    ),
    "muse.errors": (
        "ConflictError CorruptionError DomainError DurabilityError InvalidEntryError MuseError "
        "NotFoundError PluginError ShortWriteError StorageError UsageError"
    ),
    "muse.history.repository": "Repository",
    "muse.history.signing": "Signer",
    "muse.plugins.code.ops": "text_edit",
    "muse.plugins.music.identified_score": "identified_notes",
    "muse.plugins.music.midi_file": "Note read_midi write_midi",
    "muse.plugins.music.notes": (
        "delete_file delete_note insert_file insert_note move_note mutate_note one_patch "
        "rename_file replace_file replace_note"
    ),
    "muse.replication.local_peer": "LocalPeer",
    "muse.replication.repair": "repair_from",
    "muse.replication.sync": "sync_sessions",
    "muse.replication.transfer": "clone pull push",
    "muse.server.run": "serve",
    "muse.server.settings": "Settings",
    "muse.session.commit": "CommitOutcome HandEditedError",
    "muse.session.guarded_log": "GuardedLog",
    "muse.session.live": "LiveSession",
    "muse.session.policy": "Policy read_policy write_policy",
    "muse.session.receipt": "Receipt",
    "muse.session.recovery": "LostCommitError",
    "muse.session.text_replica": "CodeReplica",
    "muse.views.blame": "blame_file",
    "muse.views.prove": "prove",
    "muse.views.undo": "by_actor by_intent by_op undo",
    "muse.workdir.watch": "Watcher",
    "muse.workdir.workdir": "Workdir",
}

find_moved_modules()
__getattr__, __dir__ = lazy_names(
    __name__, {name: module for module, names in _HOMES.items() for name in names.split()}
)
