"""The compiled part: where it is built, that a package without it works, and which form runs."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.samples.project import ROOT

PART = "muse/_native.abi3.so"
BUILD_FILES = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")

pytest.importorskip("hatchling", reason="wheels are built with hatchling: install the extra dev")

needs_a_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="there is no C compiler here"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What is needed to build the package, without what an earlier build left."""
    there = tmp_path / "tree"
    for folder in ("muse", "native"):
        shutil.copytree(ROOT / folder, there / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, there / name)
    return there


def environment(**changes: str) -> dict[str, str]:
    left_out = {"CC", "CFLAGS", "MUSE_PURE", "PYTHONPATH"}
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, **changes}


def build(tree: Path, kind: str, **changes: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", tree.parent / "dist"],
        cwd=tree,
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = (tree.parent / "dist").iterdir()
    return made


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def form_in(place: Path, **changes: str) -> str:
    """What a package that was unpacked at `place` says of itself after it recorded an op."""
    program = (
        "import sys, tempfile, muse; from muse.core.compiled import FORM; from muse import OpLog\n"
        "log = OpLog(tempfile.mkdtemp(), 'jam')\n"
        "log.record('ada', 'notes', {'op': 'insert'}); log.close()\n"
        "print(muse.__file__.startswith(sys.argv[1]), FORM)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(place)],
        env=environment(PYTHONPATH=str(place), **changes),
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    is_ours, _, form = done.stdout.strip().partition(" ")
    assert is_ours == "True"
    return form


@needs_a_compiler
def test_where_there_is_a_compiler_a_wheel_has_the_compiled_part(tree: Path) -> None:
    wheel = build(tree, "wheel")
    assert "-cp311-abi3-" in wheel.name
    names = names_in(wheel)
    assert PART in names
    assert not any(name.startswith(("native/", "hatch_build")) for name in names)
    shutil.unpack_archive(wheel, tree.parent / "site", "zip")
    assert form_in(tree.parent / "site") == "compiled"
    assert form_in(tree.parent / "site", MUSE_PURE="1").startswith("pure Python")


@pytest.mark.parametrize("changes", [{"CC": "false"}, {"CC": "no-such-compiler"}, {"MUSE_PURE": "1"}])
def test_without_a_compiler_a_wheel_is_python_alone(tree: Path, changes: dict[str, str]) -> None:
    (tree / PART).write_bytes(b"of an earlier editable install")
    wheel = build(tree, "wheel", **changes)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert PART not in names_in(wheel)
    shutil.unpack_archive(wheel, tree.parent / "site", "zip")
    assert form_in(tree.parent / "site") == "pure Python"


@needs_a_compiler
def test_an_editable_install_has_the_compiled_part_in_its_tree(tree: Path) -> None:
    wheel = build(tree, "wheel:editable")
    assert PART not in names_in(wheel)
    assert form_in(tree) == "compiled"
    assert sorted(path.name for path in tree.iterdir()) == sorted(["muse", "native", *BUILD_FILES])


def test_an_editable_install_without_a_compiler_leaves_no_older_part(tree: Path) -> None:
    (tree / PART).write_bytes(b"of an earlier build")
    build(tree, "wheel:editable", CC="false")
    assert not (tree / PART).exists()
    assert form_in(tree) == "pure Python"


def test_a_part_that_cannot_be_loaded_is_as_good_as_absent(tree: Path) -> None:
    (tree / PART).write_bytes(b"for another machine")
    assert form_in(tree) == "pure Python"


@needs_a_compiler
def test_a_part_of_another_version_is_as_good_as_absent(tree: Path) -> None:
    module = tree / "native" / "module.c"
    module.write_text(module.read_text().replace("#define VERSION ", "#define VERSION 1"))
    build(tree, "wheel:editable")
    assert form_in(tree) == "pure Python, as the compiled part is of another version"


def test_a_source_distribution_has_the_c_sources_and_the_hook_and_nothing_built(tree: Path) -> None:
    (tree / PART).write_bytes(b"of an editable install")
    with tarfile.open(build(tree, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {f"native/{path.name}" for path in (ROOT / "native").iterdir()}
    assert names >= {"hatch_build.py", "muse/_native.pyi", *sources}
    assert not any(name.endswith(".so") for name in names)
