"""Each command of the command line, and the file that it is in."""

import inspect
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import typer

from muse.cli.app import make_app
from muse.cli.commands import COMMANDS as ROWS


def commands_of(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of each command, and the module that has its function."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*path, str(command.name)), command.callback.__module__
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands_of(inner.typer_instance, (*path, str(inner.name)))


APP = make_app()
COMMANDS = list(commands_of(APP))


def test_each_command_is_registered_once() -> None:
    assert [words for words, count in Counter(words for words, _ in COMMANDS).items() if count > 1] == []


@pytest.mark.parametrize(("words", "module"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_a_command_is_in_the_file_of_its_name(words: tuple[str, ...], module: str) -> None:
    own = ".".join(("muse.cli", *words))
    group = ".".join(("muse.cli", *words[:-1]))
    small_groups = {"muse.cli.key", "muse.cli.token"}
    assert module in {own, f"{own}.command"} | ({group} & small_groups)


def test_the_help_says_of_a_command_what_its_own_help_begins_with() -> None:
    commands = {str(command.name): command.callback for command in APP.registered_commands}
    for row in ROWS:
        if not row.is_group:
            first = inspect.cleandoc(commands[row.name].__doc__ or "").partition("\n\n")[0]
            assert row.help == first.replace("\n", " "), row.name
    groups = {group.name: group.typer_instance for group in APP.registered_groups}
    said = {name: typer_instance.info.help for name, typer_instance in groups.items() if typer_instance}
    assert said == {row.name: row.help for row in ROWS if row.is_group}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status", "--help"], ["--repo", "record", "status", "-h"]]
)
def test_a_command_reads_no_other(arguments: list[str]) -> None:
    code = f"""
import sys
from muse.cli.app import run
try:
    run({arguments!r})
except SystemExit:
    pass
heavy = set("muse.cli.replay muse.server pycrdt httpx".split()) & set(sys.modules)
print(sorted(heavy), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage: muse" in done.stdout
