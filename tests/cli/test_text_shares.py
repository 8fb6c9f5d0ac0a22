"""A text shared out to agents: whatever they saw of one another, their edits come to the text."""

import pytest

from muse.cli.replay.script import Create, Edit, Script
from muse.cli.replay.text_shares import share_text
from muse.session.text_replica import CodeReplica
from tests.samples.replaying import replayed

POEM = "".join(f"Line {number}: the quick brown fox,\r\n  jumps over\tthe dog.\n" for number in range(60))


def texts(script: Script, directory: str) -> set[bytes]:
    """Return what the replicas of all actors have in the end."""
    (path,) = script.wanted
    encoding = "utf-16-le" if path.endswith("16") else "utf-8"
    found = set()
    for replica in replayed(script, directory).values():
        text = replica.read(path)
        assert isinstance(replica, CodeReplica)
        found.add(text.encode(encoding) if isinstance(text, str) else text)
    return found


@pytest.mark.parametrize("actors", [1, 2, 5])
@pytest.mark.parametrize(
    ("text", "encoding", "path"),
    [
        (POEM, "utf-8", "poem.txt"),
        ("\ufeffwith a mark\nund Umläuten 🎵 𝄞\nend", "utf-8", "mark.txt"),
        ("\ufeffmarked\nGrüße 𝄞\n", "utf-16-le", "poem.utf-16"),
        ("no end of a line", "utf-8", "one.txt"),
        ("\n\n\n", "utf-8", "blank.txt"),
        ("x", "utf-8", "x.txt"),
        ("", "utf-8", "empty.txt"),
    ],
)
def test_every_replica_comes_to_exactly_the_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, encoding: str, path: str, actors: int
) -> None:
    script = share_text(text, encoding, path, actors)
    directory = str(tmp_path_factory.mktemp("replay"))
    assert texts(script, directory) == {text.encode(encoding)} == set(script.wanted.values())


def test_the_agents_type_at_the_same_time_and_look_at_one_another_now_and_then() -> None:
    script = share_text(POEM, "utf-8", "poem.txt", 3)
    assert {step.actor_id for step in script.steps} == {"agent-1", "agent-2", "agent-3"}
    parents = [len(step.parents) for step in script.steps]
    assert parents.count(3) > 3
    assert parents.count(1) > len(parents) // 2
    typed = [len(step.changes[0].patches[0][2]) for step in script.steps if isinstance(step.changes[0], Edit)]
    assert len(typed) > 600
    first = script.steps[0].changes[0]
    assert isinstance(first, Create)
    assert len(first.content) == 3
