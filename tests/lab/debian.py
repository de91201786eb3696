"""File systems, kernels and start-up archives made from Debian's packages, through the machine's own apt."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab.cache import built

FILES = Path(__file__).parent / "files"
NEEDED_TOOLS = ("mmdebstrap", "cpio", "gcc", "qemu-system-x86_64", "qemu-img", "ssh", "virsh", "setpriv")
"""What builds and runs the labs, beside kmod and e2fsprogs; tests/debian.sh installs the packages."""
_UNREAD = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
_SBIN = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}


class LabError(Exception):
    """A lab cannot be built or does not run; says what was tried."""


def call(*argv: str | Path, cwd: Path | None = None, stdin: bytes | None = None) -> str:
    """The output of a command. Raises `LabError` with the end of what it complained about."""
    words = [str(word) for word in argv]
    done = subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, env=_SBIN, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)[:200]}: exit status {done.returncode}: {done.stderr.decode()[-1000:]}")
    return done.stdout.decode()


def sources() -> tuple[str, ...]:
    """Debian's own archives as this machine's apt knows them, one `deb` line each; no others."""
    found = _known_sources()
    if not found:
        call("apt-get", "update", "-q")
        found = _known_sources()
    if not found:
        raise LabError("apt knows no archive of Debian's: the labs are built from Debian's packages")
    return found


def _known_sources() -> tuple[str, ...]:
    wanted = "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    lines = call("apt-get", "indextargets", "--format", wanted, "Created-By: Packages").splitlines()
    return tuple(dict.fromkeys(line.partition("|")[2] for line in lines if line.startswith("Debian|")))


def root_tar(name: str, packages: Sequence[str]) -> Path:
    """A minimal Debian with these packages, as one archive; nothing in it was started."""

    def build(folder: Path) -> None:
        leave_out = [f"--dpkgopt=path-exclude=/{path}/*" for path in _UNREAD[:3]]
        lists = folder / "sources.list"
        lists.write_text("\n".join(sources()) + "\n")
        suite = sources()[0].split()[2]
        call(
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}"),
            *('--aptopt=Apt::Install-Recommends "false"', *leave_out, suite, folder / "root.tar", lists),
        )

    return built(f"{name}-root", f"{packages}", build) / "root.tar"


def unpacked(packages: Sequence[str], into: Path) -> Path:
    """Packages that are only unpacked, never configured: kernels and hypervisors."""
    into.mkdir(parents=True)
    for package in packages:
        call("apt-get", "download", "-q", package, cwd=into)
    for archive in into.glob("*.deb"):
        call("dpkg-deb", "-x", archive, into)
    return into


def newest(package: str) -> str:
    """The package that a meta-package such as `linux-image-amd64` stands for today."""
    lines = call("apt-cache", "depends", package).splitlines()
    return next(line.split()[1] for line in lines if line.strip().startswith("Depends: "))


class Kernel:
    """An unpacked kernel package and its modules."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self.version = next((tree / "lib/modules").iterdir()).name
        self.bz_image = next((tree / "boot").glob("vmlinuz-*"))
        call("depmod", "-b", tree, self.version)

    def modules(self, names: Sequence[str]) -> list[Path]:
        """Each module behind those that it needs."""
        found: dict[Path, None] = {}
        for name in names:
            shown = call("modprobe", "-S", self.version, "-d", self._tree, "--show-depends", name)
            found |= {Path(line.split()[1]): None for line in shown.splitlines() if line.startswith("insmod ")}
        return list(found)

    def install_modules(self, names: Sequence[str], root: Path) -> None:
        """Put modules where `modprobe` in `root` finds them."""
        folder = root / "usr/lib/modules" / self.version
        for module in self.modules(names):
            target = folder / module.relative_to(self._tree / "lib/modules" / self.version)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module, target)
        for index in ("order", "builtin", "builtin.modinfo"):
            shutil.copy(self._tree / "lib/modules" / self.version / f"modules.{index}", folder)
        call("depmod", "-b", root / "usr", self.version)

    def elf(self) -> bytes:
        """The kernel itself: Xen would need up to a minute under emulation to unpack the bzImage."""
        data = self.bz_image.read_bytes()
        start = ((data[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", data, 0x248)[0]
        packed = data[start : start + struct.unpack_from("<I", data, 0x24C)[0]]
        return lzma.LZMADecompressor().decompress(packed)  # behind it stands its unpacked size


def initrd(target: Path, kernel: Kernel, modules: Sequence[str], busybox: Path) -> None:
    """A start-up archive that loads modules and goes on with the root disk."""
    tree = target.parent / "initrd-tree"
    for folder in ("bin", "dev", "proc", "sys", "mnt", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    shutil.copy(FILES / "initrd-init", tree / "init")
    found = kernel.modules(modules)
    for module in found:
        shutil.copy(module, tree / "modules")
    (tree / "order").write_text("".join(f"{module.name}\n" for module in found))
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names.encode(), capture_output=True, check=True
    )
    target.write_bytes(gzip.compress(archive.stdout, 1))
    shutil.rmtree(tree)


def disk(target: Path, root: Path, mib: int) -> None:
    """A file system with everything below `root`."""
    for path in _UNREAD[3:]:
        shutil.rmtree(root / path, ignore_errors=True)
    call("mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-d", root, target, f"{mib}M")
