"""Builds the compiled part of the op log where there is a C compiler; without one the package is Python.

A wheel gets `muse/_native.abi3.so`, for every CPython from 3.11 on; an editable install has it in its tree.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("module.c", "crc.c", "entry.c", "encode.c", "decode.c", "log_end.c", "index.c")
TARGET = "muse/_native.abi3.so"
STABLE_API = "0x030B0000"
"""The interface of CPython 3.11, which all later ones keep."""


def command(root: str, target: str, *extra: str) -> list[str]:
    """Return the compiler's command line, or an empty one where this interpreter takes no such part.

    `CC` and `CFLAGS` are those of the environment. `extra`: more flags, for builds that look for faults.
    """
    has_gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
    if (
        os.environ.get("MUSE_PURE", "0") not in {"", "0"}
        or sys.implementation.name != "cpython"
        or not has_gil
    ):
        return []
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    is_apple = sys.platform == "darwin"
    return [
        *shlex.split(compiler),
        *("-std=c11", "-O3", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden", "-fPIC"),
        *(("-bundle", "-undefined", "dynamic_lookup") if is_apple else ("-shared",)),
        *("-D_GNU_SOURCE", f"-DPy_LIMITED_API={STABLE_API}", f"-I{sysconfig.get_paths()['include']}"),
        *shlex.split(os.environ.get("CFLAGS", "")),
        *extra,
        *(os.path.join(root, "native", source) for source in SOURCES),
        *("-o", target),
    ]


def build(root: str, target: str, *extra: str) -> str:
    """Compile into `target`; return "" or why there is no compiled part."""
    words = command(root, target, *extra)
    if not words:
        return "not for this interpreter, or MUSE_PURE is set"
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{words[0]} failed"


class CompiledPart(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled part where it belongs, before a wheel is made."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._scratch = tempfile.TemporaryDirectory(dir=self.root if version == "editable" else None)
        made = os.path.join(self._scratch.name, os.path.basename(TARGET))
        reason = build(self.root, made)
        if version == "editable":
            self._put_in_tree(made)
        elif not reason:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform}"
            build_data["force_include"][made] = TARGET
        if reason:
            self.app.display_warning(f"Without the compiled part, which only costs speed: {reason}")

    def _put_in_tree(self, made: str) -> None:
        """Replace what an earlier build left. A process that has it loaded keeps the old file."""
        in_tree = os.path.join(self.root, TARGET)
        if os.path.exists(made):
            os.replace(made, in_tree)
        elif os.path.exists(in_tree):
            os.unlink(in_tree)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        self._scratch.cleanup()
