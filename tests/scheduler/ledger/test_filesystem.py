"""A ledger on a file system of several machines is refused."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from scheduler.ledger import Ledger, LedgerUnreachableError
from scheduler.ledger.filesystem import filesystem_type, shared_filesystem

MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:40 / /home rw,relatime shared:7 master:2 - nfs4 server:/home rw,vers=4.2
41 40 0:41 / /home/me/with\\040blank rw - tmpfs tmpfs rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib", "ext4"), ("/home/me", "nfs4"), ("/homeless", "ext4"), ("/home/me/with blank/x", "tmpfs")],
)
def test_the_longest_mount_point_decides(path: str, kind: str) -> None:
    """As the kernel resolves it."""
    assert kind == filesystem_type(Path(path), MOUNTS)


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """SQLite's locks do not hold there; where nobody tells, the file is taken."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"22 1 254:1 / {tmp_path} rw - nfs4 server:/ rw\n")
    assert "nfs4" == shared_filesystem(tmp_path, mountinfo=mountinfo)
    assert shared_filesystem(tmp_path, mountinfo=tmp_path / "absent") is None
    with (
        mock.patch("scheduler.ledger.store.shared_filesystem", return_value="nfs4"),
        pytest.raises(LedgerUnreachableError, match="is on nfs4"),
    ):
        Ledger(tmp_path / "ledger.sqlite")
