"""What everyone may use: the names of `muse`, what importing it costs, and the names of before."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import muse
from muse.compat.lazy import import_inner
from muse.compat.moved import ALSO_FUNCTIONS, MOVED, RENAMED

SOURCE = ast.parse(Path(muse.__file__).read_text(encoding="utf-8"))
CHEAP = {"muse", "muse.compat", "muse.compat.lazy", "muse.compat.moved"}


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def names_for_type_checkers() -> list[str]:
    [block] = [
        node
        for node in SOURCE.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    return [name.name for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names]


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    assert muse.__all__ == sorted({*names_for_type_checkers(), "__version__"})


@pytest.mark.parametrize("name", muse.__all__)
def test_each_public_name_is_what_its_module_has(name: str) -> None:
    assert getattr(muse, name) is not None
    assert name in dir(muse)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        muse.nothing  # noqa: B018


def test_importing_muse_imports_nothing_of_weight() -> None:
    code = "import sys; before = set(sys.modules); import muse; print(*sorted({*sys.modules} - before))"
    assert set(run_python(code).split()) <= CHEAP | {"types"}


def test_a_public_name_imports_its_own_room_only_when_it_is_used() -> None:
    code = "import sys, muse; muse.Cut; print('muse.core.coverage' in sys.modules, 'asyncio' in sys.modules)"
    assert run_python(code) == "True False\n"


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_module_is_found_under_its_old_name(old: str) -> None:
    module = importlib.import_module(old)
    if " " not in MOVED[old] and old not in {*RENAMED, *ALSO_FUNCTIONS}:
        assert module is importlib.import_module(MOVED[old])


@pytest.mark.parametrize("old", sorted(RENAMED))
def test_a_name_that_changed_is_found_under_its_old_one(old: str) -> None:
    module = importlib.import_module(old)
    for was, now in RENAMED[old].items():
        assert getattr(module, was) is getattr(module, now)
        assert {was, now} <= {*dir(module)}


def test_a_split_module_has_the_names_of_all_its_parts() -> None:
    split = {old: homes.split() for old, homes in MOVED.items() if " " in homes}
    for old, homes in split.items():
        module = importlib.import_module(old)
        for home in map(importlib.import_module, homes):
            made_here = [
                name
                for name, value in vars(home).items()
                if getattr(value, "__module__", "") == home.__name__
            ]
            assert made_here
            assert all(getattr(module, name) is vars(home)[name] for name in made_here), (old, home)


def test_an_old_module_that_has_the_name_of_a_function_can_be_called_as_that() -> None:
    code = """
import muse
from muse.views.undo import undo as function
import muse.undo, muse.prove
from muse import undo
assert muse.undo.undo is function and "by_actor" in dir(muse.undo)
try:
    undo()
except TypeError as error:
    assert "undo() missing" in str(error), error
clashes = {name for name in muse.compat.moved.MOVED if name.removeprefix("muse.") in muse.__all__}
assert clashes == muse.compat.moved.ALSO_FUNCTIONS
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_names_of_a_module_that_became_several_come_with_a_star() -> None:
    code = "from muse.core.record import *; encode_line, decode_block, Damage"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_that_fails_to_load_is_imported_again_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").touch()
    (tmp_path / "broken" / "inner.py").write_text("raise ImportError('a library is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        with pytest.raises(ImportError, match="a library is missing"):
            import_inner("broken", "inner")
