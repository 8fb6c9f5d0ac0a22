"""Old names of modules go on working: an import of one gives the module that lives elsewhere now."""

import sys
from types import ModuleType

from muse.compat.lazy import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

MOVED = {
    "muse.core.pending": "muse.core.uncommitted",
    "muse.core.storage": "muse.disk.storage",
    "muse.core.layout": "muse.disk.layout",
    "muse.core.json_file": "muse.disk.json_file",
    "muse.core.path_watch": "muse.disk.path_watch",
    "muse.core.tree_path": "muse.disk.tree_path",
    "muse.core.resource": "muse.disk.resource",
    "muse.core.crc": "muse.disk.crc",
    "muse.core.file_system": "muse.disk.file_system",
    "muse.core.log_file": "muse.core.file.log_file",
    "muse.core.log_reader": "muse.core.file.log_reader",
    "muse.core.follow": "muse.core.file.tail",
    "muse.core.session_file": "muse.core.file.session_file muse.core.file.live_or_archived",
    "muse.core.op_index": "muse.core.file.op_index",
    "muse.core.id_table": "muse.core.file.id_table",
    "muse.core.op_places": "muse.core.file.op_places",
    "muse.core.group_commit": "muse.core.file.group_commit",
    "muse.core.growth_signal": "muse.disk.growth_signal",
    "muse.core.checkpoint_file": "muse.core.file.checkpoint_store",
    "muse.core.archive_file": "muse.core.file.archive_frames",
    "muse.core.archive_record": "muse.core.file.archive_manifest",
    "muse.core.record": "muse.core.line muse.core.blocks muse.core.damage muse.core.strict_json",
    "muse.core.repair": "muse.core.file.repair",
    "muse.core.object_store": "muse.core.file.objects",
    "muse.core.checkpoint": "muse.core.coverage",
    "muse.core.incoming": "muse.core.intake",
    "muse.core.held": "muse.core.orphan_file",
    "muse.core.commit_dag": "muse.history.dag",
    "muse.core.commit_record": "muse.history.commit_record",
    "muse.core.repo_record": "muse.history.repo_record",
    "muse.core.seal": "muse.history.seal",
    "muse.core.merkle": "muse.history.merkle",
    "muse.core.proof": "muse.history.proof",
    "muse.core.signing": "muse.history.signing",
    "muse.core.working_tree": "muse.history.working_tree",
    "muse.core.garbage_lock": "muse.history.garbage_lock",
    "muse.repository": "muse.history.repository",
    "muse.recovery": "muse.history.session_history",
    "muse.sealed": "muse.history.covered_ops",
    "muse.plugin_state": "muse.apply.domains",
    "muse.net_delta": "muse.apply.net",
    "muse.merge_commit": "muse.apply.merge_heads",
    "muse.foreign": "muse.apply.external_commits",
    "muse.core.coordination": (
        "muse.coordination.reservations muse.coordination.record muse.coordination.forecast "
        "muse.coordination.holdings"
    ),
    "muse.core.coordination_record": "muse.coordination.record",
    "muse.guard": "muse.session.guarded_log muse.session.decisions",
    "muse.policy": "muse.session.policy",
    "muse.proposals": "muse.session.proposals",
    "muse.receipt": "muse.session.receipt",
    "muse.stale_reads": "muse.session.stale_reads",
    "muse.code_replica": "muse.session.text_replica",
    "muse.branch_view": "muse.session.causes",
    "muse.core.verify": "muse.checks.verify",
    "muse.core.archive_check": "muse.checks.archives",
    "muse.rederive": "muse.checks.replay",
    "muse.signatures": "muse.checks.signatures",
    "muse.looking_back": "muse.views.as_of",
    "muse.blame": "muse.views.blame",
    "muse.op_graph": "muse.views.graph",
    "muse.overlaps": "muse.views.overlaps",
    "muse.prove": "muse.views.prove",
    "muse.undo": "muse.views.undo",
    "muse.core.archive": "muse.upkeep.archive",
    "muse.core.archive_survey": "muse.upkeep.survey",
    "muse.core.garbage": "muse.upkeep.garbage",
    "muse.core.reconcile": "muse.replication.reconcile",
    "muse.core.log_items": "muse.replication.log_items",
    "muse.peer": (
        "muse.replication.peer muse.replication.local_peer muse.replication.counting_peer "
        "muse.replication.received"
    ),
    "muse.peer_wire": "muse.replication.wire",
    "muse.sync": "muse.replication.sync",
    "muse.transfer": "muse.replication.transfer",
    "muse.plugins.music_tree": "muse.plugins.music.tree",
    "muse.plugins.identified_score": "muse.plugins.music.identified_score",
    "muse.plugins.midi_bytes": "muse.plugins.music.midi_bytes",
    "muse.plugins.midi_file": "muse.plugins.music.midi_file",
    "muse.plugins.note_ops": "muse.plugins.music.note_ops",
    "muse.plugins.notes": "muse.plugins.music.notes",
    "muse.plugins.overlaps": "muse.plugins.music.overlaps",
    "muse.plugins.squash": "muse.plugins.music.squash",
    "muse.plugins.trails": "muse.plugins.music.trails",
    "muse.plugins.undo": "muse.plugins.music.undo",
    "muse.plugins.blame": "muse.plugins.music.blame",
    "muse.server.session_api": "muse.server.api.sessions",
    "muse.server.coordination_api": "muse.server.api.coordination",
    "muse.server.history_api": "muse.server.api.history",
    "muse.server.sync_api": "muse.server.api.sync",
    "muse.server.routes": "muse.server.api.routes",
    "muse.server.openapi": "muse.server.api.openapi",
    "muse.server.ops": "muse.server.api.ops",
    "muse.server.bodies": "muse.server.api.bodies",
    "muse.server.calls": "muse.server.api.calls",
    "muse.server.appends": "muse.server.api.appends",
    "muse.server.live": "muse.server.api.live",
    "muse.server.http_protocol": "muse.server.edge.http_protocol",
    "muse.server.ws_protocol": "muse.server.edge.ws_protocol",
    "muse.server.limits": "muse.server.edge.limits",
    "muse.server.access": "muse.server.edge.access",
    "muse.server.outbox": "muse.server.client_queue",
}
"""Old name of a module -> its name now. Where one module became several, their names with spaces between."""


RENAMED = {
    "muse.rederive": {"rederive": "replay_commits", "Rederivation": "ReplayReport"},
    "muse.core.verify": {"verify": "verify_repository"},
    "muse.foreign": {"foreign_changes": "external_changes", "ForeignChanges": "ExternalChanges"},
    "muse.core.archive_record": {
        "Receipt": "Tombstone",
        "read_receipt": "read_tombstone",
        "make_receipt": "make_tombstone",
        "encode_receipt": "encode_tombstone",
    },
    "muse.core.coordination": {"Claim": "Reservation", "Standing": "FrozenReservations"},
    "muse.core.held": {"HeldFile": "OrphanFile"},
    "muse.policy": {"write_policy_alone": "replace_policy"},
}
"""Old name of a module -> old name in it -> its name now."""

ALSO_FUNCTIONS = frozenset({"muse.prove", "muse.undo"})
"""Old modules whose name is a function of `muse` now: the module can be called as that function."""


def _module(name: str) -> ModuleType:
    """Import a module; `importlib`, which does so too, would cost `import muse` its time."""
    __import__(name)
    return sys.modules[name]


class _MovedLoader:
    """Puts the module that is meant where the import system looks for the old name."""

    def create_module(self, spec: "ModuleSpec") -> ModuleType | None:
        homes = MOVED[spec.name].split()
        is_module = len(homes) == 1 and spec.name not in {*RENAMED, *ALSO_FUNCTIONS}
        return None if is_module else _SplitModule(spec.name, homes)

    def exec_module(self, module: ModuleType) -> None:
        if not isinstance(module, _SplitModule):
            sys.modules[module.__name__] = _module(MOVED[module.__name__])


class _SplitModule(ModuleType):
    """The names of other modules under the old name of the one that they were."""

    def __init__(self, name: str, homes: "Sequence[str]") -> None:
        super().__init__(name)
        self._homes = homes

    def __dir__(self) -> "list[str]":
        old = RENAMED.get(self.__name__, {})
        return sorted({*old, *(name for home in self._homes for name in vars(_module(home)))})

    def __call__(self, *args: object, **options: object) -> object:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **options)

    def __getattr__(self, name: str) -> object:
        if name == "__all__":
            return [public for public in dir(self) if not public.startswith("_")]
        now = RENAMED.get(self.__name__, {}).get(name, name)
        for home in self._homes:
            if now in vars(_module(home)):
                return vars(_module(home))[now]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _MovedFinder:
    """Finds the modules of `MOVED`, and no others."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> "ModuleSpec | None":
        if name not in MOVED:
            return None
        from importlib.util import spec_from_loader  # noqa: PLC0415 - only old names need it

        return spec_from_loader(name, _MovedLoader())  # type: ignore[arg-type]


def find_moved_modules() -> None:
    """Let the import system find modules under their old names, after all others."""
    if _MovedFinder not in sys.meta_path:
        sys.meta_path.append(_MovedFinder)
