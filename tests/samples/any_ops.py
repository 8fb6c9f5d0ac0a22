"""Hypothesis strategies for ops as anybody may log them: right, nearly right, and any other JSON object."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

from muse.core.content_id import object_id
from muse.plugins.code.update import client_of, write_insert, write_vector
from tests.samples.midi_samples import one_track

SCORE = one_track(bytes.fromhex("00 90 3c 40 60 80 3c 40 00 ff 2f 00"))
OBJECTS = {object_id(content): content for content in (b"stored\n", b"\xff\0\xff", SCORE, b"")}
ABSENT = "0" * 64
FILE_IDS = ("a" * 32, "a" * 31 + "b", "a" * 64)
GOOD_PATHS = ("a", "a.mid", "a.txt", "a/b", "a." + "x" * 246, "/".join(["d" * 199] * 5) + "/fff.t")
BAD_PATHS = ("x" * 256, ".muse/x", "../x", "", "a\n", "a\0", ".muse_notes/a.mid.json", "d" * 2000)
TAKEN_PATHS = tuple(f"a~{FILE_IDS[1][:length]}.txt" for length in (8, 16, 24, 32))
"""Where a second file would be put that wants `a.txt`."""

CHARACTERS = st.characters(codec="utf-8")
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from((-1, 0, 1, 2, 2**31, 2**31 + 1, 2**53, 10**9)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(CHARACTERS, max_size=4),
    st.sampled_from(GOOD_PATHS + BAD_PATHS + FILE_IDS + tuple(OBJECTS)),
)
json_values = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(st.text(CHARACTERS, max_size=8), json_values)

paths = st.sampled_from(GOOD_PATHS)
digests = st.sampled_from((*OBJECTS, ABSENT))
places = st.none() | st.integers(-1, 4) | st.just(2**31)
texts = st.sampled_from(("", "x", "é\n", "\U0001f3b5", "one\ntwo\n", "\0", "\ufeff"))
notes = st.fixed_dictionaries(
    {
        "pitch": st.integers(-1, 128),
        "velocity": st.integers(0, 128),
        "start_tick": st.sampled_from((0, 1, 2**28, 2**31, 2**60)),
        "duration_ticks": st.sampled_from((0, 1, 2**28, 2**60)),
    },
    optional={
        "channel": st.integers(-1, 16),
        "release": st.none() | st.integers(0, 128),
        "ends_first": atoms,
    },
)
note_ids = st.sampled_from(("note/1", "note/1", "note/2", "note/", "note/" + "x" * 300))
tracks = st.sampled_from((None, -1, 0, 1, 300, 10**9, 2**63))


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@st.composite
def updates(draw: st.DrawFn) -> str:
    """Make a Yjs update, of a known or unknown client, that may build on what is there and what is not."""
    client = draw(st.sampled_from((client_of(FILE_IDS[0]), 1, 2, 2**53 - 1)))
    ids = st.none() | st.tuples(
        st.sampled_from((client_of(FILE_IDS[0]), 1, 2)), st.sampled_from((0, 1, 3, 2**31 - 2))
    )
    clock = draw(st.sampled_from((0, 1, 2, 2**31 - 2)))
    return _encoded(write_insert(client, clock, draw(ids), draw(ids), draw(texts)))


vectors = st.dictionaries(
    st.sampled_from((client_of(FILE_IDS[0]), 1, 2)), st.sampled_from((0, 1, 3, 2**53)), max_size=2
).map(lambda vector: _encoded(write_vector(vector)))
encodings = st.sampled_from(("", "utf-8", "utf-16-le", "ascii", "iso-8859-1", "None", "latin-1"))
contents = st.sampled_from(tuple(OBJECTS.values())).map(_encoded) | texts

note_fields = st.fixed_dictionaries(
    {},
    optional={name: st.fixed_dictionaries({"new": st.integers(0, 127)}) for name in ("pitch", "start_tick")},
)


nothing = st.none()


@st.composite
def pages(draw: st.DrawFn) -> str:
    """Make a page of the names of notes, right or nearly so."""
    rows = st.lists(st.sampled_from((["x", 0, 0, 1], ["x", 9, 0, 9], ["é", 0, 1, 0], ["x"])), max_size=2)
    fields = {
        "format": draw(st.sampled_from((2, 2, 1, 3))),
        "object_id": draw(digests),
        "read": draw(nothing | contents),
        "names": draw(nothing | rows),
        "edited": draw(st.dictionaries(st.sampled_from(("x", "1-1")), nothing | json_values, max_size=1)),
    }
    return json.dumps(fields, ensure_ascii=draw(st.booleans()))


def _op(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Make ops of a kind; a field whose name ends with `_` may be left out, or null."""
    needed = {name: field for name, field in fields.items() if not name.endswith("_")}
    optional = {name[:-1]: nothing | field for name, field in fields.items() if name.endswith("_")}
    return st.fixed_dictionaries({"op": st.just(kind), **needed}, optional=optional)


file_ids = st.sampled_from(FILE_IDS)
carried = {"text_": texts, "base64_": contents, "content_": contents, "encoding_": encodings}
carried["names_"] = pages() | texts
text_edits = {"file_id_": file_ids, "update_": updates(), "base_": digests}
text_ops = st.one_of(
    _op("insert", address=paths, position=places, text=texts, **text_edits),
    _op("delete", address=paths, position=places, length=st.integers(-1, 5), **text_edits),
    _op("replace", address=paths, position=places, length=st.integers(0, 5), text=texts, **text_edits),
)
note_ops = st.one_of(
    _op("insert", address=note_ids, note=notes, track_=tracks, expected_=note_fields),
    _op("replace", address=note_ids, note=notes, track_=tracks),
    _op("delete", address=note_ids, expected_=note_fields),
    _op("move", address=note_ids, to_position=st.sampled_from((0, 5, 2**28, 2**60))),
    _op("mutate", address=note_ids, fields=note_fields),
)
file_ops = st.one_of(
    _op("insert", address=paths, position=nothing, content_id=digests, file_id_=file_ids, **carried),
    _op("insert", address=st.just("a.txt"), position=nothing, text=texts, file_id=file_ids),
    _op("insert", address=st.sampled_from(GOOD_PATHS[-2:]), position=nothing, text=texts, file_id=file_ids),
    _op("insert", address=st.sampled_from(TAKEN_PATHS), position=nothing, text=texts),
    _op("delete", address=paths, position=nothing, file_id_=file_ids, seen_=vectors, content_id_=digests),
    _op("replace", address=paths, position=nothing, new_content_id=digests, file_id_=file_ids, **carried),
    _op("move", address=paths, to_address=paths, file_id_=file_ids, base_=digests),
    _op(
        "patch",
        address=paths,
        child_domain=st.just("code_text"),
        child_ops=st.lists(text_ops, max_size=3),
        from_address_=paths,
    ),
    _op(
        "patch",
        address=paths,
        child_domain=st.just("midi_notes"),
        child_ops=st.lists(note_ops, max_size=3),
        from_address_=paths,
    ),
)


@st.composite
def _bent(draw: st.DrawFn) -> Any:
    """Make an op of which one field is left out, null, or something else altogether."""
    op: dict[str, Any] = draw(file_ops | text_ops)
    inner = op["child_ops"] if op.get("child_ops") and draw(st.booleans()) else [op]
    bent = draw(st.sampled_from(inner))
    name = draw(st.sampled_from((*bent, "file_id", "encoding", "base", "text", "from_address", "seen")))
    if draw(st.booleans()):
        bent[name] = draw(st.none() | json_values | st.sampled_from(BAD_PATHS))
    else:
        bent.pop(name, None)
    return op


ops = st.one_of(file_ops, text_ops, _bent(), json_objects)
