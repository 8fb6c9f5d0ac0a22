"""What a file system may take for a directory of ours or of git's is no path of a tree, however spelled."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muse.disk.tree_path import RESERVED, may_mean, path_fault
from muse.errors import DomainError
from muse.history.repository import Repository
from muse.plugins.op_fields import NAMES_DIRECTORY, check_path
from muse.session.live import LiveSession
from tests.samples.folding_storage import FoldingStorage, folded

IGNORED = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200f\u202a\u2060\u206a\u206f\ufe0f\ufeff\U000e0001"
FORMS = {"s": "sS\u017f\uff53\uff33", "m": "mM\uff4d", "g": "gG\uff47", "i": "iI\u2170", ".": ".\u2024\uff0e"}
ENDINGS = st.sampled_from(["", ".", " ", ". .", "...", "::$INDEX_ALLOCATION", ":stream", " :x"])


@st.composite
def spellings(draw: st.DrawFn, name: str) -> str:
    parts = []
    for letter in name:
        parts.append(draw(st.sampled_from(["", "", "", *IGNORED])))
        parts.append(draw(st.sampled_from(FORMS.get(letter, letter + letter.upper()))))
    return "".join(parts) + draw(ENDINGS)


@given(st.data(), st.sampled_from(RESERVED), st.sampled_from(["{}", "{}/x", "sub/{}/keys/x", "a/b/{}"]))
def test_no_spelling_of_a_reserved_directory_is_a_path(data: st.DataObject, name: str, place: str) -> None:
    path = place.format(data.draw(spellings(name)))
    assert path_fault(path) is not None
    with pytest.raises(DomainError):
        check_path(path)


@given(st.data())
def test_no_spelling_of_the_place_of_names_is_a_path_of_an_op(data: st.DataObject) -> None:
    with pytest.raises(DomainError):
        check_path(f"{data.draw(spellings(NAMES_DIRECTORY))}/song.mid.json")


SHORT = "MUSE~1/x muse~2 a/git~1/config GIT~12 MU1A2B~1/x gi7eba~1 git~1. git~1:x"
OTHERS = (
    "muse/x git .gitignore .gitattributes .github/x .muses .mus a.git/x x.muse ... git~ museum~1 a:b "
    "we\u200dave Stra\u00dfe \u2024hidden muse~x a~1 mu12345~1"
)


@pytest.mark.parametrize("path", [*SHORT.split(" "), "muse~1 "])
def test_short_second_names_are_no_paths(path: str) -> None:
    assert path_fault(path) is not None


@pytest.mark.parametrize("path", [*OTHERS.split(" "), " .git"])
def test_what_no_file_system_mixes_up_stays_a_path(path: str) -> None:
    assert path_fault(path) is None


def test_each_character_that_a_file_system_folds_into_a_reserved_name_is_found() -> None:
    for number in (number for number in range(0x110000) if not 0xD800 <= number < 0xE000):
        for name in RESERVED:
            for place in range(len(name)):
                spelling = f"{name[:place]}{chr(number)}{name[place + 1 :]}"
                if number > 127 and folded(spelling) == name:
                    assert may_mean(spelling, name), ascii(spelling)


def test_an_op_writes_nothing_into_our_directory_where_names_are_folded(tmp_path: Path) -> None:
    root, storage = str(tmp_path), FoldingStorage()
    Repository.init(root, now="2026-01-02T03:04:05+00:00", domain="code", storage=storage)
    key = "a" * 64
    with LiveSession(root, "jam", storage=storage) as session:
        for name in (".mu\u017fe", ".MUSE", ".Mu\u017fE"):
            op = {"op": "insert", "address": f"{name}/keys/{key}.pub", "position": None, "text": "a key"}
            session.log.record("mallory", "code", op)
        assert len(session.commit("Three").ignored) == 3
    assert not os.path.exists(f"{root}/.muse/keys")
