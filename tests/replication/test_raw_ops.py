"""Raw ops beside deleted text, committed at other times on two replicas: after a merge both read one text.

Two documents that take such ops in any two orders may read two texts. In a repository the order is that of
the commits: each is a function of its parents and its ops, a merge too, and is made again from its log.
"""

import random
from pathlib import Path

import pytest

from muse.checks.verify import verify_repository
from muse.history.repository import Repository, TreeFiles
from muse.plugins.code.ops import text_edit
from muse.replication.local_peer import LocalPeer
from muse.replication.transfer import clone, pull
from muse.session.live import LiveSession
from muse.session.text_replica import CodeReplica

PATH = "a.txt"


def committed(session: LiveSession) -> str:
    repository = session.repository
    return TreeFiles(repository, repository.read_tree(repository.dag.head("main")))[PATH].decode()


def take_a_step(session: LiveSession, random_: random.Random, number: int) -> None:
    """Let somebody delete or type, in view of all here, or a program append a raw op that saw less."""
    reader = CodeReplica(session, session.log, f"typist {number}")
    text = str(reader.read(PATH))
    place = random_.randint(0, len(text))
    match random_.randrange(5):
        case 0 | 1 if place < len(text):
            reader.delete(PATH, place, random_.randint(1, min(3, len(text) - place)))
        case 2:
            reader.insert(PATH, place, chr(0x4E00 + number))
        case 3:
            session.commit("So far")
        case _:
            known = session.log.read_all()
            seen = [known[random_.randrange(len(known))]["op_id"]] if known else []
            op = text_edit(PATH, random_.randint(0, 3), "", chr(0x5E00 + number))
            session.log.record("a program", "code", op, parent_op_ids=seen)


@pytest.mark.parametrize("seed", range(6))
def test_replicas_that_commit_raw_ops_beside_deleted_text_at_other_times_read_one_text_once_merged(
    tmp_path: Path, seed: int
) -> None:
    random_ = random.Random(seed)
    roots = [str(tmp_path / "one"), str(tmp_path / "two")]
    Repository.init(roots[0])
    with LiveSession(roots[0], "jam") as session:
        CodeReplica(session, session.log, "base").create(PATH, "abcdef")
        session.commit("The first text")
    clone(LocalPeer(roots[0]), roots[1])
    with LiveSession(roots[0], "jam") as one, LiveSession(roots[1], "jam") as two:
        for _ in range(2):
            for number in range(8):
                take_a_step(random_.choice([one, two]), random_, number)
            one.commit("Mine")
            two.commit("Yours")
            pull(LocalPeer(roots[0]), LocalPeer(roots[1]))
            pull(LocalPeer(roots[1]), LocalPeer(roots[0]))
            texts = [committed(session) for session in (one, two)]
            texts += [str(CodeReplica(each, each.log, "reader").read(PATH)) for each in (one, two)]
            assert len(set(texts)) == 1
    assert all(verify_repository(root, replay=True).is_sound for root in roots)
