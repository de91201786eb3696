"""A real libvirtd with QEMU for the tests, started without systemd where none runs.

The daemon gets a configuration of its own, laid over /etc/libvirt in a mount namespace, so that
nothing of the machine's is changed (lab/kvm/NOTES.md has the reason for each line). Test processes
that run at the same time (`pytest -n 2`) share one daemon: the first starts it, the last ends it.
Guests are called `PREFIX…`, another prefix in each process, and are destroyed at the end of theirs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

URI = "qemu:///system"
PREFIX = f"numaplace-test-{os.getpid()}-"
_LOCK = Path(tempfile.gettempdir()) / "numaplace-test-libvirtd"
"""Every process that uses the daemon shares a lock on this file; it holds the daemon's pid."""

_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
"""

_START = """\
cp -a /etc/libvirt/. "$1/etc/" && cp "$1/qemu.conf" "$1/etc/qemu.conf" &&
mount --bind "$1/etc" /etc/libvirt && exec libvirtd -p "$1/libvirtd.pid"
"""


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[str]:
    """The URI of a running libvirtd; the test is skipped, and says so, where there can be none."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    for tool in ("libvirtd", "qemu-system-x86_64", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root can start a libvirtd and look into its guests' processes")
    with _LOCK.open("a+") as lock:
        _end_if_last(lock)  # a run that was killed left its daemon behind
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers():
            _write_pid(lock, _start(Path(tempfile.mkdtemp(prefix="numaplace-libvirtd-"))))
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield URI
        finally:
            _destroy_ours()
            _end_if_last(lock)


def _start(folder: Path) -> int:
    (folder / "etc").mkdir()
    (folder / "qemu.conf").write_text(_QEMU_CONF)
    for needed in ("/var/log/libvirt/qemu", "/run/libvirt"):
        Path(needed).mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", _START, "sh", str(folder)],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if _answers():
            return daemon.pid
        if daemon.poll() is not None:
            break
        time.sleep(0.2)
    daemon.kill()
    pytest.fail(f"libvirtd did not answer: {(folder / 'log').read_text()[-2000:]}")


def _write_pid(lock: IO[str], pid: int | None) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write("" if pid is None else str(pid))
    lock.flush()


def _end_if_last(lock: IO[str]) -> None:
    """End the daemon that a test process started, when no other test process uses it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    lock.seek(0)
    pid = int(lock.read() or 0)
    folder = _folder_of(pid)
    if folder is None:
        return
    os.kill(pid, signal.SIGTERM)
    with suppress(ChildProcessError):  # another process started it
        os.waitpid(pid, 0)
    while _folder_of(pid) is not None:
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
    _write_pid(lock, None)


def _folder_of(pid: int) -> Path | None:
    """The folder of the daemon with this pid, if it is one that these tests started."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    folders = [Path(os.fsdecode(word)).parent for word in words if word.endswith(b"/libvirtd.pid")]
    return next((folder for folder in folders if folder.name.startswith("numaplace-libvirtd-")), None)


def _answers() -> bool:
    import libvirt

    libvirt.registerErrorHandler(lambda *_: None, None)
    try:
        libvirt.open(URI).close()
    except libvirt.libvirtError:
        return False
    return True


def _destroy_ours() -> None:
    import libvirt

    with libvirt.open(URI) as connection:
        for domain in connection.listAllDomains():
            if domain.name().startswith(PREFIX):
                persistent = domain.isPersistent()
                if domain.isActive():
                    domain.destroy()
                if persistent:  # one made by createXML alone is gone with destroy
                    domain.undefine()
