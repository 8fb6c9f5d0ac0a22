"""A text file as a script: several agents type it at the same time, each its own share of the lines."""

import os
import re
from itertools import groupby

from muse.cli.replay.script import Create, Edit, Script, ScriptStep, agent_id

ACTORS = 4
_WORD = re.compile(r"\s*\S+|\s+")
_WORDS_BETWEEN = 25  # so many words an agent types before it looks at what the others did


def share_text(text: str, encoding: str, path: str, actors: int = ACTORS) -> Script:
    """Make a script in which `actors` type the text, or fewer if it has fewer lines.

    The first agent writes the first character of each share. So no two agents ever insert at one place,
    and only one text can be the outcome.
    """
    shares = _shares(text, actors)
    words = [_WORD.findall(share[1:]) for share in shares]
    outline = "".join(share[0] for share in shares)
    steps = [ScriptStep(agent_id(0), (), (Create(path, outline.encode(encoding)),))]
    typed = [1] * len(shares)  # of each share, how much is there
    in_view = [typed.copy() for _ in shares]  # by agent: what it has seen of each share
    last = [0] * len(shares)
    for number in range(max(map(len, words), default=0)):
        for agent, word in ((agent, own[number]) for agent, own in enumerate(words) if number < len(own)):
            looks = number % _WORDS_BETWEEN == _WORDS_BETWEEN - 1
            if looks:
                in_view[agent] = typed.copy()
            in_view[agent][agent] = typed[agent]
            position = sum(in_view[agent][: agent + 1])
            parents = tuple(dict.fromkeys(last)) if looks else (last[agent],)
            last[agent] = len(steps)
            steps.append(ScriptStep(agent_id(agent), parents, (Edit(path, ((position, 0, word),)),)))
            typed[agent] += len(word)
    return Script(os.path.basename(path), tuple(steps), {path: text.encode(encoding)})


def _shares(text: str, count: int) -> list[str]:
    """Cut the text between lines into at most `count` shares of about the same length, none empty."""
    starts, start = [], 0
    lines = text.splitlines(keepends=True)
    for line in lines:
        starts.append(start * count // len(text))
        start += len(line)
    numbered = groupby(zip(starts, lines, strict=True), key=lambda each: each[0])
    return ["".join(line for _, line in share) for _, share in numbered]
