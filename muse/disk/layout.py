"""The layout names every file under `.muse/`, and checks names that become paths. Pure."""

import os.path
import re

from muse.core.content_id import is_content_id
from muse.disk.tree_path import path_fault
from muse.errors import UsageError

MUSE_DIRECTORY = ".muse"
SESSION_ID_LENGTH = 128
BRANCH_LENGTH = 200

_SESSION_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_BRANCH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]*\Z")


def check_session_id(session_id: str) -> str:
    """Return `session_id` if it is a safe directory name; raise `UsageError` if not.

    Safe: 1 to 128 of A-Z a-z 0-9 `.` `_` `-`, not starting with `.` or `-`, not ending with `.`,
    without `..`. So a session id can never leave the log directory, on any file system.
    """
    if not isinstance(session_id, str) or not session_id:
        raise UsageError("the session id is empty: give a name such as 'jam-1'")
    if len(session_id) > SESSION_ID_LENGTH:
        raise UsageError(
            f"the session id has {len(session_id)} characters: at most {SESSION_ID_LENGTH} are allowed"
        )
    if not _SESSION_ID.match(session_id) or ".." in session_id or session_id.endswith("."):
        raise UsageError(
            f"session id {session_id!r} is not allowed: use letters, digits, '.', '_' and '-', "
            "start with a letter, digit or '_', no '..', no '.' at the end"
        )
    return session_id


def is_session_id(name: str) -> bool:
    """Return whether `name` may be a session id."""
    try:
        check_session_id(name)
    except UsageError:
        return False
    return True


def check_branch(branch: str) -> str:
    """Return `branch` if every part between slashes is a safe file name; else raise `UsageError`."""
    parts = branch.split("/") if isinstance(branch, str) else []
    safe = all(_BRANCH_PART.match(part) and ".." not in part and not part.endswith(".lock") for part in parts)
    if not branch or len(branch) > BRANCH_LENGTH or not safe or branch.endswith("."):
        raise UsageError(f"branch name {branch!r} is not allowed: use a name such as 'main' or 'take/2'")
    return branch


def is_branch(name: str) -> bool:
    """Return whether `name` may be the name of a branch."""
    try:
        check_branch(name)
    except UsageError:
        return False
    return True


def check_digest(digest: str, what: str) -> str:
    """Give back `digest` if it is 64 lower-case hex digits; else raise `UsageError` naming `what`."""
    if not is_content_id(digest):
        raise UsageError(f"{digest!r} is not a {what}: 64 lower-case hex digits are expected")
    return digest


def check_tree_path(path: str) -> str:
    """Return `path` if it names a file in a tree, by the rules of `path_fault`; else raise `UsageError`."""
    if (fault := path_fault(path)) is not None:
        raise UsageError(f"path {path!r} does not name a file inside the working tree: {fault}")
    return path


def muse_directory(root: str) -> str:
    """Return the directory with all that Muse keeps of a repository."""
    return os.path.join(root, MUSE_DIRECTORY)


def repo_file(root: str) -> str:
    """Return the path of the file that makes a directory a repository."""
    return os.path.join(root, MUSE_DIRECTORY, "repo.json")


def git_attributes_file(root: str) -> str:
    """Return the file that tells git, should it carry the repository, to leave its bytes as they are."""
    return os.path.join(root, MUSE_DIRECTORY, ".gitattributes")


def head_file(root: str) -> str:
    """Return the path of the file that names the current branch."""
    return os.path.join(root, MUSE_DIRECTORY, "HEAD")


def branches_directory(root: str) -> str:
    """Return the directory with a file for each branch."""
    return os.path.join(root, MUSE_DIRECTORY, "refs", "heads")


def branch_file(root: str, branch: str) -> str:
    """Return the path of the file that names the head of a branch; `UsageError` for a bad name."""
    return os.path.join(branches_directory(root), *check_branch(branch).split("/"))


def refs_lock_file(root: str) -> str:
    """Return the file that is locked exclusively while a branch ref is compared and swapped."""
    return os.path.join(root, MUSE_DIRECTORY, "refs.lock")


def working_tree_lock_file(root: str) -> str:
    """Return the file that is locked exclusively while the working tree is brought up to date."""
    return os.path.join(root, MUSE_DIRECTORY, "working_tree.lock")


def objects_directory(root: str) -> str:
    """Return the directory with the contents of files."""
    return os.path.join(root, MUSE_DIRECTORY, "objects")


def object_file(root: str, object_id: str) -> str:
    """Return the path of the object with this id, in a directory named after its first two digits."""
    check_digest(object_id, "object id")
    return os.path.join(objects_directory(root), object_id[:2], object_id[2:])


def objects_lock_file(root: str) -> str:
    """Return the file that is shared to put an object, and locked exclusively to remove one."""
    return os.path.join(root, MUSE_DIRECTORY, "objects.lock")


def snapshots_directory(root: str) -> str:
    """Return the directory with the snapshots."""
    return os.path.join(root, MUSE_DIRECTORY, "snapshots")


def snapshot_file(root: str, snapshot_id: str) -> str:
    """Return the path of the snapshot with this id."""
    return os.path.join(snapshots_directory(root), check_digest(snapshot_id, "snapshot id") + ".json")


def commits_directory(root: str) -> str:
    """Return the directory with the commits."""
    return os.path.join(root, MUSE_DIRECTORY, "commits")


def commit_file(root: str, commit_id: str) -> str:
    """Return the path of the commit with this id."""
    return os.path.join(commits_directory(root), check_digest(commit_id, "commit id") + ".json")


def op_log_directory(root: str) -> str:
    """Return the directory with a directory for each session."""
    return os.path.join(root, MUSE_DIRECTORY, "op_log")


def session_directory(root: str, session_id: str) -> str:
    """Return the directory of a session; `UsageError` for a bad id."""
    return os.path.join(op_log_directory(root), check_session_id(session_id))


def ops_file(root: str, session_id: str) -> str:
    """Return the path of a session's log while it is live."""
    return os.path.join(session_directory(root, session_id), "ops.jsonl")


def checkpoint_file(root: str, session_id: str) -> str:
    """Return the path of a session's checkpoint."""
    return os.path.join(session_directory(root, session_id), "checkpoint.json")


def session_lock_file(root: str, session_id: str) -> str:
    """Return the file that is locked exclusively to append ready-made entries or write the checkpoint."""
    return os.path.join(session_directory(root, session_id), "session.lock")


def session_commit_lock_file(root: str, session_id: str) -> str:
    """Return the file that is locked exclusively to commit the session's ops to a branch."""
    return os.path.join(session_directory(root, session_id), "commit.lock")


def op_index_file(root: str, session_id: str) -> str:
    """Return the cache of the offset of each op id, which is made again from the log when it is missing."""
    return os.path.join(session_directory(root, session_id), "op_index.ids")


def older_op_index_files(directory: str) -> list[str]:
    """Return the files in which earlier builds kept the index of the session in a directory."""
    return [
        os.path.join(directory, f"op_index.sqlite{suffix}") for suffix in ("-journal", "-wal", "-shm", "")
    ]


def known_effects_file(root: str, session_id: str) -> str:
    """Return the cache of what had no effect in each commit, which is found out again when it is missing."""
    return os.path.join(session_directory(root, session_id), "effects.lines")


def items_sum_file(root: str, session_id: str) -> str:
    """Return the cache of the sum of a log's items, by which replicas see that nothing is new in it."""
    return os.path.join(session_directory(root, session_id), "items.sum")


def orphans_file(root: str, session_id: str) -> str:
    """Return the file of entries whose parents have not come; it exists only while there are any."""
    return os.path.join(session_directory(root, session_id), "held.jsonl")


def policy_file(root: str, session_id: str) -> str:
    """Return the file of what the session asks of those who append; without it, the default holds."""
    return os.path.join(session_directory(root, session_id), "policy.json")


def proposals_file(root: str, session_id: str) -> str:
    """Return the append-only file of the ops that are set aside, and of what was decided about them."""
    return os.path.join(session_directory(root, session_id), "proposals.jsonl")


def tombstone_file(root: str, session_id: str) -> str:
    """Return the file that takes the place of an archived log: while it exists, the session is archived."""
    return os.path.join(session_directory(root, session_id), "receipt.json")


def archives_directory(root: str) -> str:
    """Return the directory with a directory for each archived session."""
    return os.path.join(root, MUSE_DIRECTORY, "archives")


def archive_directory(root: str, session_id: str) -> str:
    """Return the directory of a session's archive; `UsageError` for a bad id."""
    return os.path.join(archives_directory(root), check_session_id(session_id))


def archived_ops_file(root: str, session_id: str) -> str:
    """Return the path of an archived log, compressed."""
    return os.path.join(archive_directory(root, session_id), "ops.jsonl.zst")


def manifest_file(root: str, session_id: str) -> str:
    """Return the path of the file that says what is in an archive."""
    return os.path.join(archive_directory(root, session_id), "manifest.json")


def garbage_lock_file(root: str) -> str:
    """Return the file that `muse gc` locks exclusively, and a commit shares from first object to ref."""
    return os.path.join(root, MUSE_DIRECTORY, "gc.lock")


def garbage_turnstile_file(root: str) -> str:
    """Return the file that `muse gc` locks before it waits, and a commit for a moment before it shares."""
    return os.path.join(root, MUSE_DIRECTORY, "gc.turnstile.lock")


def keys_directory(root: str) -> str:
    """Return the directory with the public keys that are trusted."""
    return os.path.join(root, MUSE_DIRECTORY, "keys")


def public_key_file(root: str, key_id: str) -> str:
    """Return the file of a public key whose signatures count in this repository."""
    return os.path.join(keys_directory(root), check_digest(key_id, "key id") + ".pub")


def damaged_file(root: str, path: str) -> str:
    """Return where the damaged bytes of `path` are kept: nobody reads them, and nothing removes them."""
    muse = muse_directory(root)
    return os.path.join(muse, "damaged", os.path.relpath(path, muse))


def server_directory(root: str) -> str:
    """Return the directory with what the server keeps: tokens."""
    return os.path.join(root, MUSE_DIRECTORY, "server")


def tokens_file(root: str) -> str:
    """Return the file of the hashes of the tokens that a server of this repository accepts."""
    return os.path.join(server_directory(root), "tokens.json")


def tokens_lock_file(root: str) -> str:
    """Return the file that is locked exclusively while the tokens are changed."""
    return os.path.join(server_directory(root), "tokens.lock")


def coordination_directory(root: str) -> str:
    """Return the directory with reservations and intents."""
    return os.path.join(root, MUSE_DIRECTORY, "coordination")


def coordination_record_directory(root: str, kind: str) -> str:
    """Return the directory of the records of one kind (`intents`...): one file each, written once."""
    return os.path.join(coordination_directory(root), kind)


def coordination_journal_file(root: str) -> str:
    """Return the file that names each coordination record as it is written, so none need be listed again."""
    return os.path.join(coordination_directory(root), "journal")


def coordination_lock_file(root: str) -> str:
    """Return the file that is locked to reserve, renew or release, and shared to act on a reservation."""
    return os.path.join(coordination_directory(root), "coordination.lock")


def coordination_turnstile_file(root: str) -> str:
    """Return the file that is locked while one waits to reserve, and for a moment before one shares."""
    return os.path.join(coordination_directory(root), "coordination.turnstile.lock")


def client_state_file(root: str, session_id: str) -> str:
    """Return the file that says how far a client's local log agrees with its server's."""
    return os.path.join(session_directory(root, session_id), "client.json")


def client_lock_file(root: str, session_id: str) -> str:
    """Return the file that is locked exclusively by the client that uses a local log."""
    return os.path.join(session_directory(root, session_id), "client.lock")


WORKDIR_OF_ROOT = "root"
"""The name of the working directory that is the root of its repository."""


def workdir_directory(root: str) -> str:
    """Return the directory of what is remembered of the files that people work on."""
    return os.path.join(root, MUSE_DIRECTORY, "workdir")


def workdir_file(root: str, name: str) -> str:
    """Return the file that says how the files of one working directory and a session last agreed."""
    return os.path.join(workdir_directory(root), f"{name}.json")


def workdir_journal_file(root: str, name: str) -> str:
    """Return the file of what is being done to a working directory; it exists only meanwhile."""
    return os.path.join(workdir_directory(root), f"{name}.journal.json")


def workdir_lock_file(root: str, name: str) -> str:
    """Return the file that is locked exclusively while a working directory is recorded or brought up."""
    return os.path.join(workdir_directory(root), f"{name}.lock")


def workdir_watch_lock_file(root: str, name: str) -> str:
    """Return the file that is locked exclusively for as long as a working directory is watched."""
    return os.path.join(workdir_directory(root), f"{name}.watch.lock")


def workdir_written_directory(root: str) -> str:
    """Return the directory of notes about which files of the working tree Muse itself replaced."""
    return os.path.join(workdir_directory(root), "written")


PARTS_END = ".parts"
"""How the directory ends in which the parts of a base are."""


def workdir_part_file(root: str, name: str, digest: str) -> str:
    """Return the file of a part of a base: bytes that are named by their SHA-256."""
    check_digest(digest, "digest")
    return os.path.join(workdir_directory(root), f"{name}{PARTS_END}", digest[:2], digest[2:])
