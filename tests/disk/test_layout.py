"""Every name that becomes a path is safe to be one."""

import os.path

import pytest

from muse.disk import layout
from muse.errors import UsageError

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("session_id", ["jam", "a", "_x", "A.b-c_9", "a" * 128, "0"])
def test_a_plain_name_is_a_session_id(session_id: str) -> None:
    assert layout.check_session_id(session_id) == session_id


@pytest.mark.parametrize(
    "session_id",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "nul\0l",
        "a" * 129,
        "a" * 300,
        ".hidden",
        "-option",
        "a..b",
        "end.",
        "new\nline",
        "jam\n",
        "spa ce",
        "ünicode",
        "C:",
        None,
        7,
        b"jam",
    ],
)
def test_any_other_name_is_refused_as_a_session_id(session_id: str) -> None:
    with pytest.raises(UsageError):
        layout.check_session_id(session_id)


@pytest.mark.parametrize("branch", ["main", "take/2", "a+b@c", "v1.0"])
def test_a_branch_name_may_have_parts(branch: str) -> None:
    assert layout.branch_file("r", branch) == os.path.join("r", ".muse", "refs", "heads", *branch.split("/"))


@pytest.mark.parametrize(
    "branch",
    ["", "/", "a/", "/a", "a//b", "..", "a/../b", "-x", ".x", "a.lock", "a.", "a\0", "a b", "x" * 201, None],
)
def test_a_branch_name_that_leaves_its_place_is_refused(branch: str) -> None:
    with pytest.raises(UsageError):
        layout.check_branch(branch)


@pytest.mark.parametrize("path", ["a.mid", "a/b/c.mid", "ünïcode 🎵.mid", "x" * 255])
def test_a_path_of_the_working_tree_is_relative_and_plain(path: str) -> None:
    assert layout.check_tree_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        ".muse/HEAD",
        ".MUSE/HEAD",
        "a/.Git/config",
        "a\\b",
        "a\0b",
        "x" * 256,
        "é" * 128,
        "/".join(["abc"] * 300),
        "/".join(["🎵" * 50] * 6),
        "a\ud800",
        None,
    ],
)
def test_a_path_that_leaves_the_working_tree_is_refused(path: str) -> None:
    with pytest.raises(UsageError):
        layout.check_tree_path(path)


@pytest.mark.parametrize("digest", ["", DIGEST.upper(), DIGEST[1:], DIGEST + "\n", "../" * 21 + "a", None])
def test_only_64_hex_digits_name_a_file_by_digest(digest: str) -> None:
    for name in (layout.object_file, layout.snapshot_file, layout.commit_file):
        with pytest.raises(UsageError):
            name("r", digest)


def test_every_file_has_its_place() -> None:
    muse = os.path.join("r", ".muse")
    session = os.path.join(muse, "op_log", "jam")
    assert layout.muse_directory("r") == muse
    assert layout.repo_file("r") == os.path.join(muse, "repo.json")
    assert layout.head_file("r") == os.path.join(muse, "HEAD")
    assert layout.object_file("r", DIGEST) == os.path.join(muse, "objects", DIGEST[:2], DIGEST[2:])
    assert layout.snapshot_file("r", DIGEST) == os.path.join(muse, "snapshots", f"{DIGEST}.json")
    assert layout.commit_file("r", DIGEST) == os.path.join(muse, "commits", f"{DIGEST}.json")
    assert layout.session_directory("r", "jam") == session
    assert layout.ops_file("r", "jam") == os.path.join(session, "ops.jsonl")
    assert layout.checkpoint_file("r", "jam") == os.path.join(session, "checkpoint.json")
    assert layout.session_lock_file("r", "jam") == os.path.join(session, "session.lock")
