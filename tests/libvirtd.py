"""A real libvirtd with QEMU for the tests, started without systemd where none runs.

The daemon gets a configuration of its own, laid over /etc/libvirt in a mount namespace, so that
nothing of the machine's is changed (lab/kvm/NOTES.md has the reason for each line). Guests of the
tests are called `numaplace-test-…`; whatever is left of them is destroyed at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

URI = "qemu:///system"
PREFIX = "numaplace-test-"

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
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a running libvirtd; the test is skipped, and says so, where there can be none."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    for tool in ("libvirtd", "qemu-system-x86_64", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if _answers():
        yield URI
        _destroy_ours()
        return
    if os.geteuid() != 0:
        pytest.skip("no libvirtd runs, and only root can start one")
    folder = tmp_path_factory.mktemp("libvirtd")
    daemon = _start(folder)
    try:
        yield URI
    finally:
        _destroy_ours()
        daemon.terminate()
        daemon.wait(timeout=30)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    (folder / "etc").mkdir()
    (folder / "qemu.conf").write_text(_QEMU_CONF)
    for needed in ("/var/log/libvirt/qemu", "/run/libvirt"):
        Path(needed).mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", _START, "sh", str(folder)],
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if _answers():
            return daemon
        if daemon.poll() is not None:
            break
        time.sleep(0.2)
    daemon.kill()
    pytest.fail(f"libvirtd did not answer: {(folder / 'log').read_text()[-2000:]}")


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
                if domain.isActive():
                    domain.destroy()
                domain.undefine()
