"""Each command of the command line, and the file that it is in."""

from collections import Counter
from collections.abc import Iterator

import pytest
import typer

from muse.cli.app import app


def commands_of(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of each command, and the module that has its function."""
    for command in group.registered_commands:
        assert command.callback is not None
        yield (*path, str(command.name)), command.callback.__module__
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands_of(inner.typer_instance, (*path, str(inner.name)))


COMMANDS = list(commands_of(app))


def test_each_command_is_registered_once() -> None:
    assert [words for words, count in Counter(words for words, _ in COMMANDS).items() if count > 1] == []


@pytest.mark.parametrize(("words", "module"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_a_command_is_in_the_file_of_its_name(words: tuple[str, ...], module: str) -> None:
    own = ".".join(("muse.cli", *words))
    group = ".".join(("muse.cli", *words[:-1]))
    small_groups = {"muse.cli.key", "muse.cli.token"}
    assert module in {own, f"{own}.command"} | ({group} & small_groups)
