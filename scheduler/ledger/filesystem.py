"""Whether a folder is on a file system that several machines share: SQLite's locks do not hold there."""

from __future__ import annotations

from pathlib import Path

SHARED_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "gfs2", "ocfs2",
     "lustre", "afs", "beegfs", "gpfs"}
)  # fmt: skip
"""File systems of more than one machine (SQLite, "How To Corrupt", 2.1: locking on them is broken)."""


def filesystem_type(path: Path, mountinfo: str) -> str | None:
    """Type of the file system that holds `path` (absolute, resolved); None where no mount covers it.

    `mountinfo` is the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)); the last mount on
    the longest mount point counts.
    """
    best, kind = -1, None
    for line in mountinfo.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5:
            continue
        point = Path(fields[4].replace("\\040", " "))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def shared_filesystem(folder: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Type of the shared file system that `folder` is on; None where it is local, or nobody tells."""
    try:
        kind = filesystem_type(folder.resolve(), mountinfo.read_text())
    except OSError:
        return None
    return kind if kind in SHARED_TYPES else None
