"""Op ids are UUID4s that nobody else has: no other thread, no forked child."""

import os
import threading
import uuid

from muse.core.entry import is_op_id
from muse.core.op_ids import OpIdSource
from muse.core.op_log import make_op_entry


def test_an_op_id_is_a_canonical_uuid4() -> None:
    source = OpIdSource()
    for _ in range(1000):
        op_id = source.next()
        assert is_op_id(op_id)
        parsed = uuid.UUID(op_id)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, op_id)


def test_every_digit_is_random() -> None:
    source = OpIdSource()
    ids = [source.next() for _ in range(2000)]
    for place in range(36):
        digits = {op_id[place] for op_id in ids}
        assert len(digits) == {8: 1, 13: 1, 14: 1, 18: 1, 19: 4, 23: 1}.get(place, 16)


def test_threads_get_different_ids() -> None:
    source = OpIdSource()
    ids: list[str] = []

    def draw() -> None:
        ids.extend([source.next() for _ in range(2000)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8000


def test_a_forked_child_makes_ids_its_parent_does_not() -> None:
    make_op_entry("ada", "a", {}, 1)  # there is a stock to be copied
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, "".join(make_op_entry("ada", "a", {}, 1)["op_id"] for _ in range(50)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    text = os.read(reader, 50 * 36).decode()
    os.close(reader)
    theirs = {text[start : start + 36] for start in range(0, len(text), 36)}
    ours = {make_op_entry("ada", "a", {}, 1)["op_id"] for _ in range(500)}
    assert len(theirs) == 50
    assert not theirs & ours
