"""Whether a folder lies on a network, where SQLite's write-ahead log is not safe.

The log needs memory that all processes share, so all of them must be on one machine
(https://www.sqlite.org/wal.html, "Disadvantages").
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import psutil

__all__ = ["network_folder"]

_REMOTE = re.compile(
    r"(nfs\d*|cifs|smb\w*|9p|virtiofs|afs|ncpfs|ceph|glusterfs|lustre|gpfs|beegfs|davfs|webdav|afpfs"
    r"|fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|gvfsd-fuse|davfs2?|smbnetfs|nfs|juicefs))",
    re.IGNORECASE,
)
_MOUNTS = Path("/proc/mounts")


def network_folder(folder: Path) -> str:
    """Return the kind of network file system that a folder lies on ("nfs4"), or an empty string."""
    if os.name == "nt" and str(folder.resolve()).startswith("\\\\"):
        return "unc"
    kind = _kind(folder.resolve(), _mounted())
    return kind if _REMOTE.fullmatch(kind) else ""


def _mounted() -> list[tuple[Path, str]]:
    """Return (mount point, kind), in the order they were mounted."""
    if _MOUNTS.is_file():
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        cells = [line.split(" ") for line in lines]
        return [(Path(_plain(c[1])), c[2]) for c in cells if len(c) > 2]
    return [(Path(p.mountpoint), p.fstype) for p in psutil.disk_partitions(all=True)]


def _plain(point: str) -> str:
    # The kernel writes blanks and backslashes of a path in octal.
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point)


def _kind(folder: Path, mounted: list[tuple[Path, str]]) -> str:
    best, kind = -1, ""
    for point, name in mounted:
        # Of two at one point the later one covers the earlier.
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), name
    return kind
