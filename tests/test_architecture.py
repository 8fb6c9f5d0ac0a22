"""Who may import whom, and who may touch files, the terminal and the environment."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import muse

PACKAGE = Path(muse.__file__).parent

FLOORS = {
    0: ["errors", "domain", "causality"],
    1: [
        "core.content_id",
        "core.tree_path",
        "core.address",
        "core.layout",
        "core.merkle",
        "core.entry",
        "core.clock",
        "core.crc",
        "core.record",
        "core.op_list",
        "core.reconcile",
        "core.checkpoint",
        "core.delta",
        "core.seal",
        "core.proof",
        "core.op_ids",
        "core.timestamp",
        "core.group_commit",
        "core.resource",
    ],
    2: [
        "core.path_watch",
        "core.growth_signal",
        "core.storage",
        "core.garbage_lock",
        "core.file_system",
        "core.log_file",
        "core.id_table",
        "core.op_index",
        "core.json_file",
        "core.coordination_record",
        "core.repo_record",
        "core.commit_record",
        "core.archive_record",
        "core.archive_file",
        "core.held",
    ],
    3: [
        "core.session_file",
        "core.op_places",
        "core.log_reader",
        "core.log_items",
        "core.object_store",
        "core.checkpoint_file",
        "core.pending",
        "core.admission",
        "core.incoming",
        "core.merge",
        "core.repair",
        "core.follow",
        "core.op_log",
        "core.commit_dag",
        "core.signing",
        "core.coordination",
    ],
    4: [
        "core.archive_survey",
        "core.archive",
        "core.archive_check",
        "core.garbage",
        "core.verify",
        "core.working_tree",
    ],
    5: [
        "repository",
        "plugins",
        "plugin_state",
        "recovery",
        "op_graph",
        "net_delta",
        "session",
        "sealed",
        "foreign",
        "merge_commit",
        "branch_view",
        "code_replica",
        "looking_back",
        "overlaps",
        "blame",
        "undo",
        "rederive",
        "prove",
        "signatures",
        "peer",
        "peer_wire",
        "sync",
        "transfer",
        "policy",
        "receipt",
        "proposals",
        "stale_reads",
        "guard",
    ],
    6: ["testing", "client", "server"],
    7: ["cli", "__main__"],
}
"""Every module, by floor; on a floor, from the ground up. A package listed whole (plugins, backends,
server, client, testing, cli) is one place: what is inside it may import one another."""

WHOLE_PACKAGES = ("plugins", "backends", "server", "client", "testing", "cli")
WITHOUT_IMPORTS = ("", "core")  # the packages' own `__init__`: they hold no code
PLUGINS_MAY_IMPORT = ("errors", "domain", "causality", "core.content_id", "core.tree_path")

STATEFUL = {"core.op_ids", "core.timestamp", "core.group_commit", "core.resource"}
PURE = (*FLOORS[0], *(name for name in FLOORS[1] if name not in STATEFUL), "plugins")
IMPURE_MODULES = frozenset(
    {
        "os",
        "sys",
        "time",
        "random",
        "uuid",
        "secrets",
        "threading",
        "_thread",
        "socket",
        "subprocess",
        "asyncio",
    }
)

FILE_MODULES = frozenset(
    {"pathlib", "shutil", "tempfile", "fcntl", "mmap", "glob", "fileinput", "sqlite3", "dbm", "shelve"}
)
FILE_METHODS = frozenset({"read_text", "write_text", "write_bytes", "iterdir", "rglob", "unlink_missing"})
HARMLESS_IN_OS = frozenset(
    {"PathLike", "fspath", "fsencode", "fsdecode", "getpid", "urandom", "register_at_fork", "stat_result"}
    | {"strerror", "devnull", "path", "sep"}
)
HARMLESS_IN_OS_PATH = frozenset(
    {"join", "dirname", "basename", "split", "splitext", "abspath", "normpath", "relpath"}
)
EXCEPTIONS = {
    ("core.path_watch", "os.read"): "inotify tells its events through a descriptor, which is no file",
    ("core.path_watch", "os.close"): "a forked child lets go of its parent's inotify instance",
    ("core.growth_signal", "os.read"): "the same, for a follower's own instance",
    ("core.growth_signal", "os.close"): "the same",
    ("core.growth_signal", "os.eventfd"): "wakes a follower that is told to stop",
    ("core.growth_signal", "os.eventfd_write"): "the same",
    ("core.growth_signal", "os.EFD_CLOEXEC"): "the same",
    ("core.growth_signal", "os.EFD_NONBLOCK"): "the same",
    ("core.path_watch", "import fcntl"): "FIONREAD asks how much inotify has to say",
    (
        "core.id_table",
        "import sqlite3",
    ): "SQLite opens its table itself; it is a cache, made anew from the log",
    ("cli", "os.dup2"): "stdout is turned away when nobody reads it any more",
    ("cli", "import tempfile"): "the replicas of a replay are gone once it is over",
    ("cli", "os.getcwd"): "the command line starts where its user is",
    ("cli", "os.environ"): "only the command line reads the environment",
    ("cli", "os.path.realpath"): "a file named on the command line may be a link",
}

OUTSIDE_WORLD = {
    "os": {"environ", "environb", "getenv", "getenvb", "getlogin", "getcwd"},
    "os.path": {"expanduser", "expandvars"},
    "sys": {"stdin", "stdout", "stderr", "argv", "__stdin__", "__stdout__", "__stderr__"},
    "Path": {"home", "cwd"},
}
TERMINAL_CALLS = frozenset({"print", "input", "breakpoint"})


# -- what the source says ------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def syntax(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Full names of all that a module imports, at its top or inside a function."""
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_imports(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for name in imports(module):
        parts = name.split(".")
        if parts[0] != "muse":
            continue
        inside = ".".join(parts[1:])
        outer = ".".join(parts[1:-1])
        found.add(inside if inside in MODULES else outer)
    return found


def dotted(node: ast.AST) -> str:
    """`os.path.join` as text; empty for anything but names and dots."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        outer = dotted(node.value)
        return f"{outer}.{node.attr}" if outer else ""
    return ""


def place_of(module: str) -> str:
    """The name under which a module stands in the table."""
    package = module.partition(".")[0]
    return package if package in WHOLE_PACKAGES else module


FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
RANK_OF = {name: (floor, place) for floor, names in FLOORS.items() for place, name in enumerate(names)}


# -- floors --------------------------------------------------------------------------------------


def test_every_module_has_its_place_and_every_place_its_module() -> None:
    placed = {place_of(module) for module in MODULES} - set(WITHOUT_IMPORTS)
    assert placed == set(RANK_OF)
    assert len(FLOOR_OF) == sum(map(len, FLOORS.values()))


@pytest.mark.parametrize("module", [name for name in MODULES if name not in WITHOUT_IMPORTS])
def test_a_module_imports_only_from_below(module: str) -> None:
    rank = RANK_OF[place_of(module)]
    for imported in own_imports(module) - set(WITHOUT_IMPORTS):
        if place_of(imported) == place_of(module) != module:
            continue
        if place_of(imported) in WHOLE_PACKAGES and place_of(imported) == place_of(module):
            continue
        assert RANK_OF[place_of(imported)] < rank, f"muse.{module} imports muse.{imported}"


@pytest.mark.parametrize("module", WITHOUT_IMPORTS)
def test_a_bare_package_imports_nothing_of_its_own(module: str) -> None:
    assert own_imports(module) == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("plugins")])
def test_a_plugin_knows_ops_errors_ids_and_its_own_package_only(module: str) -> None:
    for imported in own_imports(module):
        assert imported in PLUGINS_MAY_IMPORT or imported.startswith("plugins"), f"muse.{imported}"


def test_only_the_command_line_imports_the_command_line() -> None:
    for module in MODULES:
        if place_of(module) not in {"cli", "__main__"}:
            assert not {name for name in own_imports(module) if place_of(name) == "cli"}, module


def test_there_are_no_cycles() -> None:
    left = {module: own_imports(module) - set(WITHOUT_IMPORTS) for module in MODULES}
    for module, imported in left.items():
        imported.discard(module)
        # A package's `__init__` is run by each import from it, and by nothing else asked for.
        imported -= {package for package in WHOLE_PACKAGES if module.startswith(f"{package}.")}
    while free := [module for module, imported in left.items() if not imported]:
        for module in free:
            del left[module]
        for imported in left.values():
            imported -= set(free)
    assert left == {}


# -- what a module may touch ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "module", [name for name in MODULES if place_of(name) in PURE and name != "plugins.registry"]
)
def test_a_pure_module_has_no_time_randomness_threads_or_system(module: str) -> None:
    for name in imports(module):
        root = name.partition(".")[0]
        assert root not in IMPURE_MODULES or name == "os.path", f"muse.{module} imports {name}"
    for node in ast.walk(syntax(module)):
        name = dotted(node)
        assert not name.startswith("os.") or name.startswith("os.path"), f"muse.{module} uses {name}"


def file_uses(module: str) -> Iterator[str]:
    """Everything in a module by which a file could be opened, read, written or looked at."""
    for name in imports(module):
        root, _, rest = name.partition(".")
        if root in FILE_MODULES:
            yield f"import {root}"
        if root == "os" and rest and rest != "path":
            yield name
    for node in ast.walk(syntax(module)):
        name = dotted(node)
        if name in {"open", "io.open", "codecs.open"}:
            yield name
        if isinstance(node, ast.Attribute) and node.attr in FILE_METHODS:
            yield node.attr
        head, _, last = name.rpartition(".")
        if head == "os" and last not in HARMLESS_IN_OS and not last.startswith(("O_", "SEEK_")):
            yield name
        if head == "os.path" and last not in HARMLESS_IN_OS_PATH:
            yield name


@pytest.mark.parametrize("module", [name for name in MODULES if name != "core.storage"])
def test_only_the_storage_touches_files(module: str) -> None:
    unknown = {use for use in file_uses(module) if (place_of(module), use) not in EXCEPTIONS}
    assert unknown == set()


def test_every_exception_is_still_needed() -> None:
    used = {(place_of(module), use) for module in MODULES for use in file_uses(module)}
    assert set(EXCEPTIONS) <= used


@pytest.mark.parametrize("module", [name for name in MODULES if place_of(name) not in {"cli", "__main__"}])
def test_only_the_command_line_reads_the_environment_or_the_terminal(module: str) -> None:
    for node in ast.walk(syntax(module)):
        head, _, last = dotted(node).rpartition(".")
        assert last not in OUTSIDE_WORLD.get(head, ()), f"muse.{module} uses {head}.{last}"
        if isinstance(node, ast.Call):
            assert dotted(node.func) not in TERMINAL_CALLS, f"muse.{module} calls {dotted(node.func)}"
    for name in imports(module):
        head, _, last = name.rpartition(".")
        assert last not in OUTSIDE_WORLD.get(head, ()), f"muse.{module} imports {name}"
