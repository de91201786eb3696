"""What a guest may ask for of its pCPUs beyond their number, and which devices it is to be near."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from probe.cpuset import CpuSet

if TYPE_CHECKING:
    from policies.request import GuestRequest


MOST_VCPUS = 8192
"""Of one guest: what Xen counts for a PV guest, and twice what KVM can be built for."""

MOST_CELLS = 1024
"""Of one guest: as many as hosts have nodes; QEMU itself stops at 128."""


class SmtPolicy(StrEnum):
    """What else may run on the cores of a guest's own pCPUs; the words of Nova's `hw:cpu_thread_policy`.

    A core is whole where all its thread siblings may be dedicated and are free.
    """

    PREFER = "prefer"
    """Whole cores where they fit, and siblings of others' else."""
    ISOLATE = "isolate"
    """Each vCPU has a whole core; its other siblings are booked and stay idle."""
    REQUIRE = "require"
    """vCPUs fill whole cores, thread by thread, on each node. On a host without SMT there are none. What is left
    over of a node's last core is booked and stays idle."""


class EmulatorPolicy(StrEnum):
    """Where the hypervisor's own threads for a guest run (KVM only, but for AUTO)."""

    AUTO = "auto"
    """Of a guest with pCPUs of its own on housekeeping pCPUs of its nodes, where there are any; else as GUEST."""
    GUEST = "guest"
    """On the pCPUs of its vCPUs; of a mixed guest, of those that float."""
    OWN = "own"
    """On one more dedicated pCPU, of the node of its first cell."""
    HOUSEKEEPING = "housekeeping"
    """On housekeeping pCPUs of its nodes; one of these has some."""


PCI_ADDRESS = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)


class Nearness(StrEnum):
    """How near a guest is to be to a device."""

    NODE = "node"
    PACKAGE = "package"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDevice:
    """A PCI device that a guest is to be near: that one of its vCPUs' nodes is the device's, or of its package.

    Attributes:
        address: `domain:bus:device.function` in small letters, "0000:3b:00.0".
        must: whether that is hard. Else it is a wish: a plan that misses fewer is better (`soft-wishes`).
    """

    address: str
    near: Nearness = Nearness.NODE
    must: bool = True

    def __str__(self) -> str:
        return f"{self.address} ({self.near})"


def device_complaints(request: GuestRequest) -> Iterator[str]:
    """What contradicts itself in the devices that it is to be near."""
    addresses = [device.address for device in request.devices]
    for address in addresses:
        if PCI_ADDRESS.fullmatch(address) is None:
            yield f"device {address!r} is no PCI address such as 0000:3b:00.0"
    if len(set(addresses)) < len(addresses):
        yield f"names a device twice: {', '.join(addresses)}"


def own_vcpus(request: GuestRequest) -> CpuSet:
    """The vCPUs that own a pCPU each; the others float."""
    if request.cpus == "dedicated":
        return CpuSet(frozenset(range(request.vcpus)))
    return request.dedicated_vcpus


def cpu_complaints(request: GuestRequest) -> Iterator[str]:
    """What contradicts itself in what is asked of pCPUs, or is more than any guest has."""
    if request.vcpus > MOST_VCPUS:
        yield f"has {request.vcpus} vCPUs, and no hypervisor gives one guest more than {MOST_VCPUS}"
        return
    if request.cells != "auto" and request.cells > MOST_CELLS:
        yield f"has {request.cells} cells, and no guest has more than {MOST_CELLS}"
    if request.cpus == "mixed":
        yield from _mixed_complaints(request)
    elif request.dedicated_vcpus:
        yield f"dedicated_vcpus is for guests with mixed pCPUs, and its pCPUs are {request.cpus}"
    if request.cpus != "shared":
        return
    if request.smt is not SmtPolicy.PREFER:
        yield f"smt {request.smt} is for guests with dedicated pCPUs"
    if request.emulator is EmulatorPolicy.OWN:
        yield "an own pCPU for the emulator is for guests with dedicated pCPUs"


def _mixed_complaints(request: GuestRequest) -> Iterator[str]:
    own = request.dedicated_vcpus
    if beyond := own - CpuSet(frozenset(range(request.vcpus))):
        yield f"dedicated_vcpus has {beyond}, and its vCPUs are 0-{request.vcpus - 1}"
    elif not own:
        yield "mixed pCPUs need dedicated_vcpus: those that own a pCPU each"
    elif len(own) == request.vcpus:
        yield "all its vCPUs own their pCPU: ask for dedicated ones"


def mode_complaints(request: GuestRequest) -> Iterator[str]:
    """libvirt prefers one node per guest, and leaves a restricted guest to cgroups, which know no guest cells."""
    mode = request.memory_mode
    if mode == "auto":
        return
    if request.cells == 1 and request.node_limit != 1:
        yield f"memory_mode {mode} holds a cell on one node: leave max_nodes away, or ask for cells"
    if mode != "strict" and request.cells != 1:
        yield f"memory_mode {mode} is for guests of one cell: ask for strict, or for auto"
    if mode == "restrictive" and request.page_kib != 4:
        yield "memory_mode restrictive is for 4 KiB pages: ask for strict, or for auto"
