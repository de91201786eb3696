"""One emulated host as a QEMU process: cold, or from its saved state."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TextIO

from tests.lab.debian import LabError
from tests.lab.images import kvm_image, xen_image
from tests.lab.shapes import SAVED, Shape

_XEN_OPTIONS = (
    "dom0_mem=768M,max:768M dom0_max_vcpus=1 dom0_nodes=0 numa=on bootscrub=0 loglvl=all guest_loglvl=all"
    " console=com1 com1=115200,8n1 conring_size=256k"
)
_KVM_OPTIONS = (
    "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on"
    " numa_balancing=disable"
)


class Machine:
    """A running QEMU. It ends with the process that started it, also when that is killed."""

    def __init__(self, shape: Shape, disk: Path, folder: Path, *, saved: bool) -> None:
        """Start it; the ports on loopback are in `ssh_port` and `libvirt_port`."""
        self.shape, self._folder = shape, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ssh_port, self.libvirt_port = _free_ports(2)
        argv = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *self._arguments(disk)]
        if saved:
            argv += ["-loadvm", SAVED]
        with (folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _arguments(self, disk: Path) -> list[str]:
        forwards = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22,hostfwd=tcp:127.0.0.1:{self.libvirt_port}-:16509"
        return [
            *("-name", self.shape.name, "-accel", "tcg,thread=multi,tb-size=512", *self.shape.arguments()),
            *_kernel(self.shape),
            *("-drive", f"file={disk},format=qcow2,if=none,id=d0,cache=unsafe"),
            *("-device", "virtio-blk-pci,bus=pcie.0,drive=d0", "-netdev", f"user,id=n0,{forwards}"),
            *("-device", "virtio-net-pci,bus=pcie.0,netdev=n0,romfile="),
            *("-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,bus=pcie.0,rng=r0"),
            *("-display", "none", "-vga", "none", "-nodefaults", "-no-reboot"),
            *("-serial", f"file:{self._folder}/console.log"),
            *("-qmp", f"unix:{self._folder}/qmp.sock,server=on,wait=off"),
        ]

    def check_alive(self) -> None:
        """Raise `LabError` with the end of its console when it has ended."""
        if self._process.poll() is not None:
            raise LabError(f"{self.shape.name} ended, status {self._process.returncode}: {self.complaint()}")

    def complaint(self) -> str:
        """The ends of what QEMU and the host's console said."""
        logs = (self._folder / name for name in ("qemu.log", "console.log"))
        return "\n".join(log.read_text(errors="replace")[-1500:] for log in logs if log.exists())

    def save(self) -> None:
        """Keep memory and disk as they are now; it ends."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self._folder / "qmp.sock"))
            with monitor.makefile("rw") as lines:
                lines.readline()  # its greeting
                _ask(lines, "qmp_capabilities")
                complaint = _ask(lines, "human-monitor-command", **{"command-line": f"savevm {SAVED}"})
        if complaint:
            raise LabError(f"{self.shape.name}: savevm: {complaint}")
        self.kill()

    def kill(self) -> None:
        """Power off, as somebody who pulls the plug."""
        self._process.kill()
        self._process.wait(timeout=60)


def _kernel(shape: Shape) -> list[str]:
    if shape.hypervisor == "kvm":
        image = kvm_image()
        words = f"{_KVM_OPTIONS} lab.name={shape.name} lab.uuid={shape.uuid} {shape.options}"
        return ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd"), "-append", words]
    image = xen_image()
    dom0 = f"{image}/vmlinux console=hvc0 quiet {shape.options},{image}/initrd"
    return ["-kernel", str(image / "xen"), "-append", _XEN_OPTIONS, "-initrd", dom0]


def _ask(lines: TextIO, command: str, **arguments: str) -> str:
    """The answer of one QMP command; what else QEMU tells meanwhile is passed over."""
    lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    lines.flush()
    while True:
        answer = json.loads(lines.readline())
        if "error" in answer:
            raise LabError(f"{command}: {answer['error']['desc']}")
        if "return" in answer:
            return str(answer["return"] or "")


def new_disk(shape: Shape, target: Path) -> None:
    """An empty layer over the image's disk."""
    image = kvm_image() if shape.hypervisor == "kvm" else xen_image()
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image / "disk.ext4"), "-F", "raw", str(target)]
    subprocess.run(argv, check=True)


def copied_disk(saved: Path, target: Path) -> None:
    """A copy of a saved disk, so that several can run from one state."""
    shutil.copyfile(saved, target)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
