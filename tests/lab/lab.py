"""The lab as a test or a person uses it: hosts by name, reached over ssh and libvirt's remote URIs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.cache import built, log
from tests.lab.debian import LabError, call
from tests.lab.images import keys, kvm_image, xen_image
from tests.lab.machine import Machine, copied_disk, new_disk
from tests.lab.shapes import SHAPES, Shape

PATIENCE_S = 400
"""A start takes seconds; on a machine with much to do it takes minutes."""

_WARM_UP = """\
virsh -q capabilities > /dev/null
virsh -q domcapabilities --virttype qemu > /dev/null
cat > /tmp/warm.xml <<END
<domain type='qemu'><name>warm</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>/lab/touch.elf</kernel></os>
<devices><memballoon model='none'/><controller type='usb' model='none'/></devices></domain>
END
virsh -q create /tmp/warm.xml; sleep 1; virsh -q destroy warm; rm -f /tmp/warm.xml /var/log/libvirt/qemu/warm.log; sync
"""
"""What libvirt does once only (it asks QEMU what it can) is done before the state is saved."""


class LabHost:
    """A host of the lab that runs."""

    def __init__(self, shape: Shape, machine: Machine, config: Path) -> None:
        self.shape, self.machine, self._config = shape, machine, config
        scheme = {"kvm": "qemu", "xen": "xen"}[shape.hypervisor]
        self.libvirt_uri = f"{scheme}+tcp://127.0.0.1:{machine.libvirt_port}/system"
        self.ssh = f"root@{shape.name}"

    def run(self, script: str, *, stdin: bytes | str = b"", timeout_s: float = 120) -> str:
        """The output of a shell script there. Raises `LabError` when it fails or takes longer."""
        try:
            done = subprocess.run(
                ["ssh", "-F", str(self._config), "-T", self.ssh, f"exec bash -ec {shlex.quote(script)}"],
                input=stdin.encode() if isinstance(stdin, str) else stdin,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self.shape.name}: no end after {timeout_s:g} s: {script[:200]}") from error
        if done.returncode != 0:
            self.machine.check_alive()
            complaint = done.stderr.decode(errors="replace")[-1000:]
            raise LabError(f"{self.shape.name}: status {done.returncode}: {script[:200]}: {complaint}")
        return done.stdout.decode(errors="replace")

    def put(self, content: bytes | str, path: str) -> None:
        """Write a file there."""
        self.run(f"cat > {shlex.quote(path)}", stdin=content)

    def get(self, path: str) -> str:
        """Read a text file there."""
        return self.run(f"cat {shlex.quote(path)}")

    def is_ready(self) -> bool:
        """libvirtd answers a call, and on Xen so does xl: that a port accepts says nothing here."""
        try:
            self.run("xl list > /dev/null" if self.shape.hypervisor == "xen" else "true", timeout_s=20)
            uri = ["virsh", "-q", "-c", self.libvirt_uri, "version"]
            return subprocess.run(uri, capture_output=True, timeout=20, check=False).returncode == 0
        except (LabError, subprocess.TimeoutExpired):
            return False


class Lab:
    """Hosts that run until the end of a `with`. `bin` has an `ssh` that knows them, to stand first in PATH."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nplab-"))
        self.hosts: dict[str, LabHost] = {}
        self._config = self.folder / "ssh_config"
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        (self.bin / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self._config} "$@"\n')
        (self.bin / "ssh").chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close_connections()
        for host in self.hosts.values():
            host.machine.kill()
        shutil.rmtree(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """For processes that reach the hosts by their names."""
        return {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def start(self, *names: str) -> None:
        """Start hosts from their saved states, side by side; the first time they are made."""
        saved = {name: saved_state(SHAPES[name]) for name in names}
        for name in names:
            log.info("%s: starts from its saved state", name)
            disk = self.folder / f"{name}.qcow2"
            copied_disk(saved[name] / "disk.qcow2", disk)
            self._add(Machine(SHAPES[name], disk, self.folder / name, saved=True))
        for name in names:
            self._wait_for(self.hosts[name])
            self.hosts[name].run(f"date -s @{time.time():.0f}")  # it woke with the clock of the save

    def boot(self, name: str, disk: Path) -> LabHost:
        """Start a host cold on a disk of its own."""
        new_disk(SHAPES[name], disk)
        host = self._add(Machine(SHAPES[name], disk, self.folder / name, saved=False))
        self._wait_for(host)
        return host

    def restart(self, *names: str) -> None:
        """Hosts as they were saved, whatever was done to them."""
        for name in self.hosts.keys() & set(names):
            self.stop(name)
        self.start(*names)

    def stop(self, name: str) -> None:
        """Switch a host off, at once."""
        host = self.hosts.pop(name)
        self._close_connection(host)
        host.machine.kill()

    def close_connections(self) -> None:
        """End the shared ssh connections: a saved state holds none."""
        for host in self.hosts.values():
            self._close_connection(host)

    def _close_connection(self, host: LabHost) -> None:
        subprocess.run(
            ["ssh", "-F", str(self._config), "-O", "exit", host.ssh], capture_output=True, check=False, timeout=30
        )

    def _add(self, machine: Machine) -> LabHost:
        host = LabHost(machine.shape, machine, self._config)
        self.hosts[machine.shape.name] = host
        self._config.write_text(_ssh_config(self.folder, [each.machine for each in self.hosts.values()]))
        return host

    def _wait_for(self, host: LabHost) -> None:
        began = time.monotonic()
        while not host.is_ready():
            host.machine.check_alive()
            if time.monotonic() - began > PATIENCE_S:
                raise LabError(f"{host.shape.name}: not ready after {PATIENCE_S} s: {host.machine.complaint()}")
            time.sleep(0.5)
        log.info("%s: ready after %.0f s", host.shape.name, time.monotonic() - began)


def saved_state(shape: Shape) -> Path:
    """A host that booted, settled and was saved, memory and disk in one file."""

    def build(folder: Path) -> None:
        with Lab() as lab:
            host = lab.boot(shape.name, folder / "disk.qcow2")
            if shape.hypervisor == "kvm":
                host.run(_WARM_UP, timeout_s=PATIENCE_S)
            lab.close_connections()
            host.machine.save()

    image = kvm_image() if shape.hypervisor == "kvm" else xen_image()
    qemu = call("qemu-system-x86_64", "--version").splitlines()[0]
    return built(f"{shape.name}-state", repr((image.name, shape, qemu, _WARM_UP)), build)


def _ssh_config(folder: Path, machines: Sequence[Machine]) -> str:
    known = folder / "known_hosts"
    known.write_text(f"lab {(keys() / 'host.pub').read_text()}")
    hosts = "".join(f"Host {m.shape.name}\n  Port {m.ssh_port}\n  HostName 127.0.0.1\n" for m in machines)
    return (
        f"{hosts}Host *\n  HostKeyAlias lab\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n"
        f"  IdentityFile {keys() / 'id'}\n  IdentitiesOnly yes\n  LogLevel ERROR\n"
        f"  ControlMaster auto\n  ControlPath {folder}/%n.ssh\n  ControlPersist 300\n"
    )
