"""Installs the peers: all at once, or one by one so that those that cannot be had are named, not fatal.

`python -m benchmarks.install`, in the environment the benchmarks will run in. Only the standard library.
"""

import json
import shutil
import subprocess
import sys
import tomllib

from benchmarks.machine import failures_path


def _installer() -> list[str]:
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _install(*requirements: str) -> str:
    """Install, and return "" or the reason why not."""
    done = subprocess.run([*_installer(), *requirements], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), (lines or ["unknown reason"])[-1])


def main() -> None:
    failures = {}
    if _install("-e", ".[bench,client,code,server,watch]"):
        if reason := _install("-e", ".[client,code,server,watch]"):
            raise SystemExit(reason)
        with open("pyproject.toml", "rb") as file:
            extra = tomllib.load(file)["project"]["optional-dependencies"]["bench"]
        for requirement in extra:
            if reason := _install(requirement):
                failures[requirement.partition(">")[0].partition("=")[0]] = reason
                sys.stderr.write(f"{requirement} is left out: {reason}\n")
    with open(failures_path(), "w", encoding="utf-8") as file:
        json.dump(failures, file)


if __name__ == "__main__":
    main()
