"""The images of the two kinds of lab host: kernel, start-up archive, root disk."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from tests.lab.cache import built
from tests.lab.debian import FILES, Kernel, call, disk, initrd, newest, root_tar, unpacked

_BOTH = (
    *("libvirt-daemon", "libvirt-clients", "openssh-server", "netcat-openbsd", "busybox-static"),
    *("iproute2", "procps", "kmod", "util-linux"),
)
KVM_PACKAGES = (*_BOTH, "libvirt-daemon-driver-qemu", "qemu-system-x86", "numactl", "numad", "stress-ng")
XEN_PACKAGES = (
    *(*_BOTH, "libvirt-daemon-driver-xen", "xenstore-utils"),
    *("xen-utils-4.17", "libxenmisc4.17"),
)
XEN_HYPERVISOR = "xen-hypervisor-4.17-amd64"
"""Debian bookworm's Xen."""

_KVM_BOOT = ("virtio_pci", "virtio_blk", "ext4", "virtio_net", "virtio-rng")
_XEN_BOOT = ("virtio_pci", "virtio_blk", "ext4")
_XEN_MODULES = (
    *("virtio_net", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd"),
    *("xenfs", "xen-acpi-processor", "loop", "tun", "bridge"),
)


def keys() -> Path:
    """The folder with the key that opens the labs (`id`) and the one that they answer with (`host`)."""

    def build(folder: Path) -> None:
        for name in ("id", "host"):
            call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "numaplace-lab", "-f", folder / name)

    return built("keys", "ed25519", build)


def kvm_image() -> Path:
    """`vmlinuz`, `initrd` and `disk.ext4` of a KVM host with libvirtd and QEMU."""

    def build(folder: Path) -> None:
        kernel = Kernel(unpacked([newest("linux-image-cloud-amd64")], folder / "kernel"))
        root = _root(folder, "kvm", KVM_PACKAGES)
        shutil.copy(FILES / "qemu.conf", root / "etc/libvirt/qemu.conf")
        _add_user(root, "libvirt-qemu", 64055)
        (root / "var/log/libvirt/qemu").mkdir(parents=True, exist_ok=True)
        shutil.copy(kernel.bz_image, folder / "vmlinuz")
        initrd(folder / "initrd", kernel, _KVM_BOOT, root / "usr/bin/busybox")
        _finish(folder, root, mib=1600)

    return built("kvm-image", _inputs(KVM_PACKAGES), build)


def xen_image() -> Path:
    """`xen`, `vmlinux`, `initrd` and `disk.ext4` of a Xen host with xl and libvirtd in its dom0."""

    def build(folder: Path) -> None:
        kernel = Kernel(unpacked([newest("linux-image-amd64"), XEN_HYPERVISOR], folder / "kernel"))
        root = _root(folder, "xen", XEN_PACKAGES)
        kernel.install_modules(_XEN_MODULES, root)
        drivers = root / "usr/lib/x86_64-linux-gnu/libvirt/connection-driver"
        for driver in drivers.glob("*"):
            if "libxl" not in driver.name:
                driver.unlink()  # libvirtd starts every driver that it finds
        (folder / "xen").write_bytes(gzip.decompress(next((folder / "kernel/boot").glob("xen-*.gz")).read_bytes()))
        (folder / "vmlinux").write_bytes(kernel.elf())
        initrd(folder / "initrd", kernel, _XEN_BOOT, root / "usr/bin/busybox")
        _finish(folder, root, mib=1200)

    return built("xen-image", _inputs(XEN_PACKAGES), build)


def _inputs(packages: tuple[str, ...]) -> str:
    """All that decides what an image is made of; packages of another day are not looked for."""
    files = [path.read_text() for path in sorted(FILES.iterdir())]
    return repr((packages, keys().name, files, Path(__file__).read_text()))


def _root(folder: Path, kind: str, packages: tuple[str, ...]) -> Path:
    root = folder / "root"
    root.mkdir()
    call("tar", "-C", root, "-xf", root_tar(kind, packages))
    (root / "root/.ssh").mkdir(mode=0o700)
    shutil.copy(keys() / "id.pub", root / "root/.ssh/authorized_keys")
    (root / "root/.ssh/authorized_keys").chmod(0o600)
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    shutil.copy(keys() / "host", root / "etc/ssh/lab_host_key")
    shutil.copy(FILES / "sshd_config", root / "etc/ssh/sshd_config")
    shutil.copy(FILES / "libvirtd.conf", root / "etc/libvirt/libvirtd.conf")
    shutil.copy(FILES / f"{kind}-init", root / "sbin/lab-init")
    (root / "lab").mkdir()
    guest = ("gcc", "-m32", "-nostdlib", "-static", "-Wl,-Ttext-segment=0x100000", "-Wl,--build-id=none")
    call(*guest, "-o", root / "lab/touch.elf", FILES / "touch.S")
    (root / "etc/machine-id").write_text("")
    (root / "var/log/libvirt").mkdir(parents=True, exist_ok=True)
    return root


def _add_user(root: Path, name: str, number: int) -> None:
    """libvirtd insists on this user, also where it runs QEMU as root."""
    passwd = root / "etc/passwd"
    if f"{name}:" not in passwd.read_text():
        with passwd.open("a") as users, (root / "etc/group").open("a") as groups:
            users.write(f"{name}:x:{number}:{number}::/var/lib/libvirt:/usr/sbin/nologin\n")
            groups.write(f"{name}:x:{number}:\n")


def _finish(folder: Path, root: Path, mib: int) -> None:
    disk(folder / "disk.ext4", root, mib)
    shutil.rmtree(root)
    shutil.rmtree(folder / "kernel")
