"""The shapes of the lab's hosts, as QEMU's command line.

`-cpu` needs care under emulation: dom0 dies with SMAP, libvirt's Xen driver starts with no CPU
model that lacks VME, and SMT siblings show with an Intel vendor only (../shared/lab has the measurements).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import NAMESPACE_DNS, uuid5

SAVED = "ready"
"""The name of the saved state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A NUMA node: its CPUs as QEMU writes them (None: memory only) and its memory."""

    cpus: str | None
    mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A machine.

    Attributes:
        name: what the host is called, also over ssh.
        hypervisor: "kvm" or "xen": which image it runs.
        distances: (node, node) to SLIT distance, each pair once.
        latency_ns: (initiator, target) to HMAT read latency; empty: no HMAT.
        bandwidth_gib_s: the same for read bandwidth.
        extra: further QEMU arguments.
        options: words for the kernel's command line.
    """

    name: str
    hypervisor: str
    cpu: str
    smp: str
    nodes: tuple[Node, ...]
    distances: Mapping[tuple[int, int], int]
    latency_ns: Mapping[tuple[int, int], int] = field(default_factory=dict)
    bandwidth_gib_s: Mapping[tuple[int, int], int] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    options: str = ""

    @property
    def uuid(self) -> str:
        return str(uuid5(NAMESPACE_DNS, f"{self.name}.lab.numaplace"))

    def arguments(self) -> list[str]:
        """Processors, nodes, distances and HMAT."""
        hmat = ",hmat=on" if self.latency_ns else ""
        arguments = ["-machine", f"q35,usb=off,vmport=off{hmat}", "-cpu", self.cpu, "-smp", self.smp]
        arguments += ["-m", f"{sum(node.mib for node in self.nodes)}M"]
        for number, node in enumerate(self.nodes):
            cpus = f",cpus={node.cpus}" if node.cpus else ""
            arguments += ["-object", f"memory-backend-ram,id=m{number},size={node.mib}M"]
            arguments += ["-numa", f"node,nodeid={number}{cpus},memdev=m{number}{self._initiator(number)}"]
        for (source, target), value in self.distances.items():
            arguments += ["-numa", f"dist,src={source},dst={target},val={value}"]
        for figure, unit, table in (
            ("access-latency", "latency={}", self.latency_ns),
            ("access-bandwidth", "bandwidth={}G", self.bandwidth_gib_s),
        ):
            for (initiator, target), value in table.items():
                lb = f"hmat-lb,initiator={initiator},target={target},hierarchy=memory,data-type={figure}"
                arguments += ["-numa", f"{lb},{unit.format(value)}"]
        return [*arguments, *self.extra]

    def _initiator(self, target: int) -> str:
        """QEMU wants the nearest CPU node of each node named, where there is an HMAT."""
        near = {initiator: ns for (initiator, to), ns in self.latency_ns.items() if to == target}
        return f",initiator={min(near, key=lambda i: near[i])}" if near else ""


H1 = Shape(
    name="h1",
    hypervisor="kvm",
    cpu="max,la57=off",
    smp="8,sockets=4,dies=1,cores=2,threads=1",
    nodes=(
        *(Node(cpus=f"{2 * n}-{2 * n + 1}", mib=1536) for n in range(4)),
        Node(cpus=None, mib=512),
    ),
    distances={
        **dict.fromkeys([(0, 1), (2, 3)], 16),
        **dict.fromkeys([(0, 2), (0, 3), (1, 2), (1, 3)], 28),
        **dict.fromkeys([(0, 4), (1, 4)], 24),
        **dict.fromkeys([(2, 4), (3, 4)], 36),
    },
    options="lab.huge=3:2048:256",
)
"""Four nodes of two CPUs, a memory-only node, huge pages on node 3 only."""

H2 = Shape(
    name="h2",
    hypervisor="kvm",
    cpu="max,la57=off,vendor=GenuineIntel",
    smp="8,sockets=2,dies=1,cores=2,threads=2",
    nodes=(Node(cpus="0-3", mib=2560), Node(cpus="4-7", mib=2560)),
    distances={(0, 1): 20},
    latency_ns={(0, 0): 90, (0, 1): 140, (1, 0): 150, (1, 1): 80},
    bandwidth_gib_s={(0, 0): 100, (0, 1): 40, (1, 0): 40, (1, 1): 110},
    extra=(
        *("-device", "pxb-pcie,id=pxb1,bus_nr=128,numa_node=1,bus=pcie.0"),
        *("-device", "pcie-root-port,id=rp1,bus=pxb1,chassis=1"),
        *("-object", "rng-random,id=rng1,filename=/dev/urandom", "-device", "virtio-rng-pci,bus=rp1,rng=rng1"),
    ),
)
"""Two nodes of two cores with two threads each, an HMAT, and a PCI device on node 1."""

XEN = Shape(
    name="xen",
    hypervisor="xen",
    cpu="max,-smap,+vme,x-force-features=on",
    smp="8,sockets=4,dies=1,cores=2,threads=1",
    nodes=tuple(Node(cpus=f"{2 * n}-{2 * n + 1}", mib=2048) for n in range(4)),
    distances={
        **dict.fromkeys([(0, 1), (2, 3)], 16),
        **dict.fromkeys([(0, 2), (0, 3), (1, 2), (1, 3)], 21),
    },
)
"""Four nodes of two CPUs, dom0 on node 0."""

SHAPES = {shape.name: shape for shape in (H1, H2, XEN)}
