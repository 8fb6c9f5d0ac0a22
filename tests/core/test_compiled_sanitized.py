"""The compiled part under sanitizers: no byte outside of a buffer is touched, and nothing is undefined."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples.project import ROOT

hatch_build = pytest.importorskip("hatch_build", reason="it builds with hatchling: install the extra dev")

FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1")
COMPILER = os.environ.get("CC") or "gcc"
TESTS = (
    "tests/core/test_compiled_agrees.py",
    "tests/core/test_compiled_index.py",
    "tests/core/file/test_id_table.py::test_a_table_is_a_dict_of_lists",
    "tests/core/file/test_op_index.py",
    "tests/core/test_op_log.py",
    "tests/core/test_fuzz_reader.py",
)


def library(name: str) -> str:
    """Where the compiler has a library of its sanitizers; "" if it has none."""
    if shutil.which(COMPILER) is None:
        return ""
    asked = [COMPILER, f"-print-file-name={name}"]
    path = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return path if os.path.isabs(path) else ""


def environment(tree: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(tree),
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",  # the interpreter itself leaves memory at its end
        "PYTHONMALLOC": "malloc",  # so that each object has bounds of its own
        "FUZZ_ROUNDS": "4000",
    }


@pytest.mark.long
@pytest.mark.skipif(not library("libasan.so"), reason="no compiler with sanitizers is here")
def test_hostile_bytes_and_all_else_stay_within_bounds(tmp_path: Path) -> None:
    for folder in ("muse", "native", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert hatch_build.build(str(tmp_path), str(tmp_path / hatch_build.TARGET), *FLAGS) == ""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", *TESTS],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-8000:]
    assert "nothing to compare" not in ran.stdout


@pytest.mark.long
@pytest.mark.skipif(not library("libasan.so"), reason="no compiler with sanitizers is here")
def test_the_sanitizers_see_a_byte_that_is_out_of_bounds(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "native", tmp_path / "native")
    (tmp_path / "muse").mkdir()
    source = tmp_path / "native" / "module.c"
    planted = source.read_text().replace("crc_of(at, (size_t)size)", "crc_of(at, (size_t)size + 100)")
    source.write_text(planted)
    assert hatch_build.build(str(tmp_path), str(tmp_path / hatch_build.TARGET), *FLAGS) == ""
    ran = subprocess.run(
        [sys.executable, "-c", "import _native; _native.crc32(bytes(40))"],
        env=environment(tmp_path / "muse"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in ran.stderr
