"""What is installed, reachable or missing, and the command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from probe.errors import NumaplaceError
from probe.sources.registry import read_source


class Health(StrEnum):
    """How a finding weighs."""

    OK = "ok"
    OPTIONAL = "optional"
    """Not there; only some commands need it."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `mend` is the command or step that mends it, or ""."""

    what: str
    health: Health
    found: str
    mend: str = ""


OUR_PACKAGES = ("probe", "policies", "scheduler", "benchmarks")
_LIBRARIES = ("click", "defusedxml", "networkx", "numpy", "ortools", "pydantic", "PyYAML", "SQLAlchemy")
_TOOLS = (
    ("ssh", "hosts over ssh", "apt install openssh-client"),
    ("virsh", "looking at libvirt by hand", "apt install libvirt-clients"),
    ("qemu-system-x86_64", "KVM guests on this machine", "apt install qemu-system-x86"),
    ("xl", "a Xen host: this machine is none, or its tools are missing", "apt install xen-system-amd64"),
)


def examine(*, ledger: str | None, hosts_file: Path | None) -> Iterator[Finding]:
    """Look at everything that a command may need, one finding at a time."""
    yield _python()
    yield from (_library(name) for name in _LIBRARIES)
    yield from (_not_shadowed(name) for name in OUR_PACKAGES)
    yield _source("sysfs:", "this machine's NUMA nodes", "a Linux with /sys mounted", Health.BROKEN)
    yield _libvirt_python()
    if importlib.util.find_spec("libvirt"):
        mend = "systemctl start libvirtd, or apt install libvirt-daemon-system"
        yield _source("qemu:///system", "libvirt on this machine", mend, Health.OPTIONAL)
    yield from (_tool(*tool) for tool in _TOOLS)
    if shutil.which("xl"):
        yield _source("xl:", "Xen on this machine", "boot it with Xen, and run as root", Health.OPTIONAL)
    yield _ledger(ledger)
    yield _hosts_file(hosts_file)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(what="Python", health=Health.OK, found=version)


def _library(name: str) -> Finding:
    try:
        return Finding(what=name, health=Health.OK, found=importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(what=name, health=Health.BROKEN, found="not installed", mend=f"pip install {name}")


def _not_shadowed(package: str) -> Finding:
    """Our import names are generic: PyPI has a `scheduler`, a `probe` and a `policies` of its own."""
    spec = importlib.util.find_spec(package)
    home = Path(spec.origin).parent if spec and spec.origin else None
    ours = Path(__file__).resolve().parent.parent / package
    if home is None or home.resolve() != ours:
        mend = f"pip uninstall {package}, then pip install --force-reinstall numaplace"
        return Finding(what=f"package {package}", health=Health.BROKEN, found=f"shadowed by {home}", mend=mend)
    return Finding(what=f"package {package}", health=Health.OK, found="ours")


def _libvirt_python() -> Finding:
    try:
        version = importlib.metadata.version("libvirt-python")
    except importlib.metadata.PackageNotFoundError:
        mend = "apt install gcc pkg-config libvirt-dev python3-dev && pip install 'numaplace[libvirt]'"
        return Finding(what="libvirt-python", health=Health.OPTIONAL, found="not installed", mend=mend)
    return Finding(what="libvirt-python", health=Health.OK, found=version)


def _source(source: str, what: str, mend: str, otherwise: Health) -> Finding:
    try:
        snapshot = read_source(source)
    except NumaplaceError as error:
        return Finding(what=what, health=otherwise, found=error.message, mend=mend)
    nodes, guests = len(snapshot.topology.nodes), len(snapshot.occupants)
    found = f"{nodes} node{'s' * (nodes != 1)}, {len(snapshot.usable_cpus)} CPUs"
    return Finding(what=what, health=Health.OK, found=found + (f", {guests} guests" if guests else ""))


def _tool(name: str, use: str, mend: str) -> Finding:
    path = shutil.which(name)
    if path:
        return Finding(what=name, health=Health.OK, found=path)
    return Finding(what=name, health=Health.OPTIONAL, found=f"not found; needed for {use}", mend=mend)


def _ledger(path: str | None) -> Finding:
    from scheduler.ledger import open_ledger

    return _tried("ledger", lambda: str(open_ledger(path).path), "give another --ledger, or NUMAPLACE_LEDGER")


def _hosts_file(path: Path | None) -> Finding:
    from scheduler.files.hosts_file import read_hosts

    if path is None:
        mend = "write hosts.yaml (README, 'hosts.yaml'), or use --host"
        return Finding(what="hosts file", health=Health.OPTIONAL, found="none", mend=mend)
    return _tried("hosts file", lambda: f"{path}: {len(read_hosts(path))} hosts", "mend the line that it names")


def _tried(what: str, look: Callable[[], str], mend: str) -> Finding:
    try:
        return Finding(what=what, health=Health.OK, found=look())
    except NumaplaceError as error:
        return Finding(what=what, health=Health.BROKEN, found=error.message, mend=mend)
