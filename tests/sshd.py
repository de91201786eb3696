"""A real sshd on loopback for the tests, with keys and settings of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe.sources.linux_remote import REMOTE_COMMAND

_SSHD = "/usr/sbin/sshd"  # it insists on an absolute path


@dataclass(frozen=True, slots=True)
class Sshd:
    """Where it listens; `bin` has an `ssh` that knows its key, to stand first in PATH."""

    user: str
    port: int
    bin: Path
    config: Path

    @property
    def target(self) -> str:
        return f"//{self.user}@127.0.0.1:{self.port}"


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A running sshd; the test is skipped, and says so, where there can be none."""
    if not Path(_SSHD).is_file() or shutil.which("ssh") is None:
        pytest.skip("openssh-server or openssh-client is not installed")
    folder = tmp_path_factory.mktemp("sshd")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Sshd(pwd.getpwuid(os.geteuid()).pw_name, port, folder / "bin", folder / "ssh_config")
    _write_settings(folder, found)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = folder / "log"
    with log.open("wb") as errors:
        server = subprocess.Popen([_SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=errors)
    try:
        _wait_for(port, log)
        yield found
    finally:
        server.terminate()
        server.wait(timeout=30)


def sent_from(root: Path, path: str = os.environ["PATH"]) -> str:
    """What the remote command prints on a host whose files are below `root` and whose tools are in `path`."""
    argv = [str(shutil.which("sh", path=path)), "-c", REMOTE_COMMAND.replace("cd /;", f"cd {root};")]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": path}).stdout


def _write_settings(folder: Path, sshd: Sshd) -> None:
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    (folder / "known").write_text(f"[127.0.0.1]:{sshd.port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {sshd.port}\nHostKey {folder}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"PermitRootLogin yes\nPasswordAuthentication no\nAuthorizedKeysFile {folder}/authorized\n"
    )
    sshd.config.write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {folder}/known\nGlobalKnownHostsFile none\n"
    )
    sshd.bin.mkdir()
    wrapper = sshd.bin / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {sshd.config} "$@"\n')
    wrapper.chmod(0o755)


def _wait_for(port: int, log: Path) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"sshd did not listen: {log.read_text()[-1000:]}")
