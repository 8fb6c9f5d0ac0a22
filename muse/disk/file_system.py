"""The kind of file system that a path is on decides about appends: they are atomic on a local one only."""

import sys
from functools import lru_cache

from muse.disk.storage import Storage
from muse.errors import MuseError

NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "9p", "ncpfs", "afpfs", "webdav"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "ceph", "lustre", "glusterfs"}
)
_MOUNTS = "/proc/self/mountinfo"


def file_system_kind(device: int, storage: Storage) -> str:
    """Return the kind of the file system with this device number ("ext4", "nfs4"); "" if unknown.

    From Linux's mountinfo (proc(5)); elsewhere nothing is known and nothing is refused.
    """
    if not sys.platform.startswith("linux"):
        return ""
    return _kind(device, storage)


@lru_cache(maxsize=256)
def _kind(device: int, storage: Storage) -> str:
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    try:
        mounts = storage.read_bytes(_MOUNTS).decode(errors="replace")
    except MuseError:
        return ""
    wanted = f"{major}:{minor}"
    return next((kind for number, kind in map(_mount, mounts.splitlines()) if number == wanted), "")


def _mount(line: str) -> tuple[str, str]:
    fields, _, rest = line.partition(" - ")
    return fields.split(" ")[2], rest.split(" ")[0]
