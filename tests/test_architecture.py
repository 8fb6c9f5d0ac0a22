"""Who may import whom, and who may touch files, the terminal and the environment."""

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import muse
from tests.samples.project import ROOT

PACKAGE = Path(muse.__file__).parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def rows_of(table: str) -> list[list[str]]:
    """The cells of each row of the table of the page that has `table` as its head."""
    lines = PAGE.partition(table)[2].splitlines()[2:]
    rows = [
        line.strip("|").split(" | ") for line in itertools.takewhile(lambda line: line.startswith("|"), lines)
    ]
    assert rows
    return [[cell.strip() for cell in row] for row in rows]


def names_in(cell: str) -> list[str]:
    return [name.replace("/", ".") for name in re.findall(r"`([\w/]+)`", cell)]


def placed() -> Iterator[tuple[str, int]]:
    """Every module of the table, and the row it is in."""
    for place, (_floor, room, _question, modules) in enumerate(
        rows_of("| floor | room | answers | modules |")
    ):
        folder = room.strip("`/").replace("/", ".")
        for name in names_in(modules):
            yield (name if folder == "muse" else f"{folder}.{name}"), place


ROOM_OF = dict(placed())
"""Module -> the row of its room: a lower number is nearer to the ground."""

PLUGINS_MAY_IMPORT = names_in(PAGE.partition("Plugins see less: ")[2].partition(", never another")[0])
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
    (names_in(module)[0], uses.strip("`")) for module, uses, _why in rows_of("| module | uses | because |")
}
"""What a module, or a folder, may do all the same."""

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LONG_ON_PURPOSE: set[tuple[str, str]] = {
    # A call less is a twentieth of an append: `make bench-quick` shows it.
    ("core.op_log", "record"),
}
COMPILED_PART = "muse._native"
"""It is C, may be absent, and holds nothing that Python code does not know."""

CLASS_LINES = {"OpLog": 350}
"""How long a class may be that is meant to hand on to others what is to be done."""
IN_STORED_FORMATS: frozenset[str] = frozenset({"claims_per_second", "claim", "grants"})
"""Names that a stored format or an interface of the network fixes, whatever they mean."""

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
        if parts[0] != "muse" or name in {"muse.__version__", COMPILED_PART}:
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


def folder_of(module: str) -> str:
    return module.partition(".")[0]


FACES = {name for name in MODULES if MODULES[name].name == "__init__.py"}
"""The packages' own `__init__`: they hand names on, and hold no code."""

PURE = {
    name
    for name in set(MODULES) - FACES
    if name in {"errors", "domain", "causality"}
    or folder_of(name) == "plugins"
    or ROOM_OF.get(name) in {ROOM_OF["core.entry"], ROOM_OF["core.content_id"]}
} - {"core.op_ids", "core.timestamp", "core.compiled", "plugins.registry"}


# -- rooms ---------------------------------------------------------------------------------------


def highest_room(module: str) -> int:
    """The row of a module. A package's own names may come from any room in it."""
    if module not in FACES:
        return ROOM_OF[module]
    inside = f"{module}." if module else ""
    return max((room for name, room in ROOM_OF.items() if name.startswith(inside)), default=0)


def test_every_module_has_its_room_and_every_place_its_module() -> None:
    named = [module for module, _room in placed()]
    assert sorted(named) == sorted(set(MODULES) - FACES - {"__main__"})


@pytest.mark.parametrize("module", sorted(ROOM_OF))
def test_a_module_imports_only_from_rooms_below(module: str) -> None:
    for imported in own_imports(module):
        assert highest_room(imported) <= ROOM_OF[module], f"muse.{module} imports muse.{imported}"


@pytest.mark.parametrize("package", sorted(FACES - {""}))
def test_a_package_has_a_room_and_holds_no_code_itself(package: str) -> None:
    assert any(module.startswith(f"{package}.") for module in ROOM_OF)
    made = [node.name for node in syntax(package).body if isinstance(node, (*FUNCTIONS, ast.ClassDef))]
    assert made == (["main"] if package == "cli" else [])


@pytest.mark.parametrize("module", [name for name in MODULES if folder_of(name) != "compat"])
def test_what_a_module_imports_stands_at_an_import(module: str) -> None:
    calls = {dotted(node.func) for node in ast.walk(syntax(module)) if isinstance(node, ast.Call)}
    assert calls.isdisjoint({"__import__", "import_module", "importlib.import_module"})
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            assert [name.asname for name in node.names if name.asname] == []


@pytest.mark.parametrize("package", sorted(FACES - {""}))
def test_a_face_hands_on_what_is_in_its_own_folder_or_below(package: str) -> None:
    rooms = [room for module, room in placed() if module.startswith(f"{package}.")]
    for imported in own_imports(package):
        assert imported.startswith(f"{package}.") or ROOM_OF[imported] < min(rooms), imported


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("plugins")])
def test_a_plugin_knows_ops_errors_ids_and_its_own_folder_only(module: str) -> None:
    for imported in own_imports(module):
        own_folder = ".".join(module.split(".")[:2])
        is_own = imported.startswith(own_folder) or module in {"plugins", "plugins.registry"}
        assert is_own or imported in {*PLUGINS_MAY_IMPORT, "core"}, f"muse.{module} imports muse.{imported}"


def test_the_compiled_part_is_imported_in_one_place() -> None:
    importing = {module for module in MODULES for name in imports(module) if name.startswith(COMPILED_PART)}
    assert importing == {"core.compiled"}


def test_there_are_no_cycles() -> None:
    left = {module: own_imports(module) - FACES - {module} for module in MODULES}
    while free := [module for module, imported in left.items() if not imported]:
        for module in free:
            del left[module]
        for imported in left.values():
            imported -= set(free)
    assert left == {}


# -- what a module may touch ---------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(PURE))
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


@pytest.mark.parametrize("module", [name for name in MODULES if folder_of(name) != "disk"])
def test_only_the_disk_touches_files(module: str) -> None:
    uses = set(file_uses(module))
    assert {use for use in uses if not {(module, use), (folder_of(module), use)} & EXCEPTIONS} == set()


def test_every_exception_is_still_needed() -> None:
    used = {(module, use) for module in MODULES for use in file_uses(module)}
    assert used | {(folder_of(module), use) for module, use in used} >= EXCEPTIONS


@pytest.mark.parametrize("module", [name for name in MODULES if folder_of(name) not in {"cli", "__main__"}])
def test_only_the_command_line_reads_the_environment_or_the_terminal(module: str) -> None:
    for node in ast.walk(syntax(module)):
        head, _, last = dotted(node).rpartition(".")
        is_allowed = last not in OUTSIDE_WORLD.get(head, ()) or (module, f"{head}.{last}") in EXCEPTIONS
        assert is_allowed, f"muse.{module} uses {head}.{last}"
        if isinstance(node, ast.Call):
            assert dotted(node.func) not in TERMINAL_CALLS, f"muse.{module} calls {dotted(node.func)}"
    for name in imports(module):
        head, _, last = name.rpartition(".")
        assert last not in OUTSIDE_WORLD.get(head, ()), f"muse.{module} imports {name}"


# -- names and English -----------------------------------------------------------------------------


def length_of(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def sizes(module: str) -> Iterator[str]:
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    if lines > 500:
        yield f"{lines} lines"
    for node in ast.walk(syntax(module)):
        if isinstance(node, FUNCTIONS) and length_of(node) > 60:
            yield f"{node.name} has {length_of(node)} lines"
        if isinstance(node, ast.ClassDef):
            methods = {part.name for part in node.body if isinstance(part, FUNCTIONS)}
            public = [name for name in methods if not name.startswith("_")]
            if len(public) > 25:
                yield f"{node.name} has {len(public)} public methods"
            if length_of(node) > CLASS_LINES.get(node.name, 500):
                yield f"{node.name} has {length_of(node)} lines"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_nothing_is_too_long(module: str) -> None:
    assert [
        fault for fault in sizes(module) if (module, fault.partition(" ")[0]) not in LONG_ON_PURPOSE
    ] == []


def test_one_name_is_one_class() -> None:
    homes: dict[str, set[str]] = {}
    for module in MODULES:
        for node in ast.walk(syntax(module)):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.lstrip("_"), set()).add(module)
    assert {name: sorted(modules) for name, modules in homes.items() if len(modules) > 1} == {}


def names_made_in(module: str) -> Iterator[str]:
    for node in ast.walk(syntax(module)):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def words_in(name: str) -> set[str]:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")
    return {form for word in words for form in (word, word.removesuffix("s"))}


RESERVED = [
    (names_in(noun)[0], set(names_in(rooms)))
    for noun, _means, rooms in rows_of("| noun | means | never in |")
]


@pytest.mark.parametrize("module", sorted(set(MODULES) - FACES))
def test_a_noun_has_one_meaning(module: str) -> None:
    refused = {noun for noun, rooms in RESERVED if folder_of(module) in rooms}
    found = {name for name in (*names_made_in(module), module) if words_in(name) & refused}
    assert found - IN_STORED_FORMATS == set()


NEVER_SAID = [
    (names_in(noun)[0], set(names_in(rooms)))
    for noun, means, rooms in rows_of("| noun | means | never in |")
    if means.startswith("nothing:")
]


@pytest.mark.parametrize("module", sorted(set(MODULES) - FACES))
def test_a_noun_without_a_meaning_is_not_said_either(module: str) -> None:
    refused = {noun for noun, rooms in NEVER_SAID if folder_of(module) in rooms}
    parts = (node.value for node in ast.walk(syntax(module)) if isinstance(node, ast.Constant))
    said = {word for text in parts if isinstance(text, str) for word in re.findall(r"\w+", text)}
    assert {word for word in said - IN_STORED_FORMATS if words_in(word) & refused} == set()


def texts_of(module: str) -> Iterator[tuple[int, str]]:
    """The docstrings of a module and the messages of its errors, each with its line."""
    for node in ast.walk(syntax(module)):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module)):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
        if isinstance(node, ast.Raise) and node.exc is not None:
            for part in ast.walk(node.exc):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


PLAIN = re.compile("|".join(rf"\b{row[0].strip('`')}\b" for row in rows_of("| not | but |")), re.IGNORECASE)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_docstrings_and_messages_are_in_plain_words(module: str) -> None:
    found = [(line, match[0]) for line, text in texts_of(module) for match in PLAIN.finditer(text)]
    assert found == []


@cache
def classes() -> dict[str, ast.ClassDef]:
    """Every class of the package by its name; one name is one class."""
    nodes = (node for module in MODULES for node in ast.walk(syntax(module)))
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


def bases_of(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    for base in node.bases:
        name = dotted(base.value if isinstance(base, ast.Subscript) else base)
        if name in classes():
            yield classes()[name]
            yield from bases_of(classes()[name])


def members_of(node: ast.ClassDef) -> set[str]:
    own = {part.name for part in node.body if isinstance(part, FUNCTIONS)}
    own |= {dotted(part.target) for part in node.body if isinstance(part, ast.AnnAssign)}
    return own.union(*(members_of(base) for base in bases_of(node)))


@cache
def interfaces() -> list[ast.ClassDef]:
    """The protocols of several members; a class that has them all is meant to be one."""
    protocols = [node for node in classes().values() if "Protocol" in map(dotted, node.bases)]
    return [node for node in protocols if len(members_of(node)) > 1]


def promised_elsewhere(node: ast.ClassDef) -> set[str]:
    """The methods of a class whose promise a base, or an interface that it has, gives already."""
    bases = [*bases_of(node), *(one for one in interfaces() if members_of(one) <= members_of(node))]
    parts = [part for base in bases if base is not node for part in base.body]
    return {part.name for part in parts if isinstance(part, FUNCTIONS) and ast.get_docstring(part)}


def without_promise(node: ast.Module | ast.ClassDef, where: str = "") -> Iterator[str]:
    """The public functions, classes and methods that do not say what they guarantee."""
    elsewhere = promised_elsewhere(node) if isinstance(node, ast.ClassDef) else set()
    for part in node.body:
        if not isinstance(part, (*FUNCTIONS, ast.ClassDef)) or part.name.startswith(("_", "test_")):
            continue
        if ast.get_docstring(part) is None and part.name not in elsewhere:
            yield where + part.name
        if isinstance(part, ast.ClassDef):
            yield from without_promise(part, f"{part.name}.")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_public_says_what_it_guarantees(module: str) -> None:
    assert list(without_promise(syntax(module))) == []


NO_VERB_FIRST = frozenset(
    {
        "the",
        "a",
        "an",
        "what",
        "which",
        "who",
        "how",
        "where",
        "whether",
        "when",
        "all",
        "each",
        "every",
        "its",
    }
    | {"its", "this", "that", "as", "in", "on", "of", "no", "not", "with", "for", "one", "two", "under"}
)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_docstring_begins_with_one_sentence(module: str) -> None:
    faults = []
    for node in ast.walk(syntax(module)):
        text = ast.get_docstring(node) if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module)) else None
        if text is None or getattr(node, "name", "").startswith("_"):
            continue
        first = text.partition("\n")[0]
        if not first.endswith((".", "?")):
            faults.append((getattr(node, "lineno", 1), first))
        decorators = [dotted(item) for item in getattr(node, "decorator_list", [])]
        is_noun = any(name.endswith(("property", "fixture")) for name in decorators)
        if isinstance(node, FUNCTIONS) and not is_noun and first.partition(" ")[0].lower() in NO_VERB_FIRST:
            faults.append((node.lineno, first))
    assert faults == []
