"""What the numbers were taken on, found out by the harness itself."""

import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
import sys

from muse.core.compiled import FORM

_PACKAGES = (
    "muse-oplog",
    "orjson",
    "msgspec",
    "lmdb",
    "rocksdict",
    "plyvel",
    "eventsourcing",
    "pycrdt",
    "pycrdt-store",
)


def facts(scratch: str) -> dict[str, str]:
    return {
        "processor": _processor(),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": " on ".join(reversed(mounted_at(scratch)[1:])),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(_versions()),
        "the op log": FORM,
        "commit": _commit(),
    }


def load() -> str:
    """Return the load average of the last minute: above 1 or so, others were at work too."""
    return f"{os.getloadavg()[0]:.2f}"


def mounted_at(path: str) -> tuple[str, str, str]:
    """Return (mount point, device, type) of the file system that holds `path`."""
    path = os.path.realpath(path)
    best = ("", "unknown device", "unknown file system")
    try:
        with open("/proc/self/mounts", encoding="utf-8") as file:
            mounts = [line.split()[:3] for line in file]
    except OSError:
        return best
    for device, place, kind in mounts:
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= len(best[0]):
            best = (place, device, kind)
    return best


def _processor() -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next(
                (line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name
            )
    except OSError:
        pass
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {usable} cores"


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"


def _versions() -> list[str]:
    found = [f"SQLite {sqlite3.sqlite_version}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return found


def _commit() -> str:
    command = ("git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def installation_failures() -> dict[str, str]:
    """Return why packages could not be installed, as `benchmarks.install` left it."""
    try:
        with open(failures_path(), encoding="utf-8") as file:
            return dict(json.load(file))
    except OSError:
        return {}


def failures_path() -> str:
    return os.path.join(sys.prefix, "bench-not-installed.json")
