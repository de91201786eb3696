"""Binding a running domain anew through libvirt: its threads, and on KVM its memory too.

Measured (lab/kvm): on cgroup v2 the pages follow a change of the nodes that a domain may use, and
libvirt allows that change only for `restrictive`, or where no mode was given. Pinning alone moves
no memory, neither on KVM nor on Xen.
"""

from __future__ import annotations

import ctypes
from typing import Any

from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.safe_xml import parse_xml
from probe.snapshot import Hypervisor
from probe.sources.libvirt_affinity import domain_pointer
from scheduler.executors.port import CannotMoveError


def rebind_threads(libvirt: Any, domain: Any, placement: Placement, hypervisor: Hypervisor) -> None:
    """Pin every vCPU, and on KVM the emulator and the I/O threads, live and for the next start.

    The vCPUs through the C function: libvirt-python's `pinVcpuFlags` fails on Xen as its `vcpus`
    does (`probe.sources.libvirt_affinity`).

    Raises:
        libvirt.libvirtError: a call failed.
    """
    flags = _affecting(libvirt, domain)
    library = ctypes.CDLL("libvirt.so.0")
    for cell in placement.cells:
        for vcpu, cpus in cell.pins.items():
            mask = _mask(cpus)
            pinned = library.virDomainPinVcpuFlags(domain_pointer(domain), vcpu, mask, len(mask), flags)
            if pinned < 0:
                raise libvirt.libvirtError("virDomainPinVcpuFlags() failed")
    if hypervisor is Hypervisor.KVM and placement.emulator_cpus is not None:
        allowed = tuple(cpu in placement.emulator_cpus for cpu in range(max(placement.emulator_cpus) + 1))
        domain.pinEmulator(allowed, flags)
        for thread, *_ in domain.ioThreadInfo(libvirt.VIR_DOMAIN_AFFECT_LIVE):
            domain.pinIOThread(thread, allowed, flags)


def move_memory(libvirt: Any, domain: Any, placement: Placement, hypervisor: Hypervisor) -> None:
    """Change the nodes that a running KVM domain may use; the kernel moves what it has.

    Raises:
        CannotMoveError: on Xen, and where another mode than `restrictive` binds the domain.
        libvirt.libvirtError: the call failed.
    """
    if hypervisor is Hypervisor.XEN:
        raise CannotMoveError("Xen places a guest's memory when it is created and moves none of it afterwards")
    mode = _mode(domain)
    if mode not in ("", "restrictive"):
        raise CannotMoveError(
            f"its memory mode is {mode}, which holds as it was created; only `restrictive` can follow"
        )
    nodes = {libvirt.VIR_DOMAIN_NUMA_NODESET: str(placement.memory_nodes)}
    domain.setNumaParameters(nodes, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _mode(domain: Any) -> str:
    """What binds the memory of the running domain; "" for nothing."""
    root = parse_xml(domain.XMLDesc(), origin=f"domain {domain.name()}")
    cell, whole = root.find("numatune/memnode"), root.find("numatune/memory")
    policy = whole if cell is None else cell
    return "" if policy is None else policy.get("mode", "strict")


def _affecting(libvirt: Any, domain: Any) -> int:
    return int(libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG * domain.isPersistent())


def _mask(cpus: CpuSet) -> bytes:
    """The lowest CPU in the lowest bit of the first byte."""
    return sum(1 << cpu for cpu in cpus).to_bytes(max(cpus) // 8 + 1, "little")
