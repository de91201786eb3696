"""Filling nodes before guests come: with guests of ours that never run and whose memory is all there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.plan import MemoryMode, PlacedCell, PlacedMemory, Placement
from policies.request import GuestName, HostName
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.units import format_kib, format_kib_rounded, parse_size_kib
from scheduler.executors.port import DefinitionKind

IDLE = "idle"
LEAST_LEFT_KIB = 64 * 1024
"""A node with less left could not serve its kernel."""

_GRAIN_KIB = 1024
_OVERHEAD_KIB = 48 * 1024
"""What the filling guest's own process takes there (an idle QEMU 7.2: 20 to 45 MiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """How much is left free of which nodes; `host` None: on every host that is measured."""

    left_kib: Mapping[tuple[str | None, int], int]

    @classmethod
    def parse(cls, text: str) -> Fill:
        """Read "idle" or "[HOST:]NODE=SIZE,…", sizes as 500MiB.

        Raises:
            BadInputError: it is neither, or would leave next to nothing.
        """
        left: dict[tuple[str | None, int], int] = {}
        for item in text.split(",") if text != IDLE else ():
            where, equals, size = item.partition("=")
            host, _, node = where.rpartition(":")
            if not equals or not (node.isascii() and node.isdecimal()):
                raise BadInputError(f"--fill {text!r}: expected idle or [HOST:]NODE=SIZE,…, got {item!r}.")
            try:
                kib = parse_size_kib(size)
            except ValueError as error:
                raise BadInputError(f"--fill {text!r}: {error}") from error
            if kib < LEAST_LEFT_KIB:
                least = format_kib(LEAST_LEFT_KIB)
                raise BadInputError(f"--fill {text!r}: {size} is too little to leave; a node needs {least} itself.")
            left[host or None, int(node)] = kib
        return cls(left_kib=left)

    def __str__(self) -> str:
        told = (f"{f'{host}:' * bool(host)}{node}={format_kib(kib)}" for (host, node), kib in self.left_kib.items())
        return ",".join(told) or IDLE

    @property
    def scenario(self) -> str:
        """The name in rows."""
        return "locality filled" if self.left_kib else "locality idle"

    def of_host(self, host: str) -> dict[int, int]:
        """Node to KiB that are to be left there; what names the host goes before what names none."""
        every = {node: kib for (where, node), kib in self.left_kib.items() if where is None}
        return every | {node: kib for (where, node), kib in self.left_kib.items() if where == host}


def check_fill(fill: Fill, snapshots: Mapping[str, HostSnapshot]) -> None:
    """Raises `BadInputError` where a fill names no host or no node, or one without CPUs that cannot be filled."""
    for host, node in fill.left_kib:
        if host is not None and host not in snapshots:
            raise BadInputError(f"--fill {fill}: no host is called {host!r}; there are {', '.join(snapshots)}.")
        for name in snapshots if host is None else (host,):
            topology = snapshots[name].topology
            if node not in topology.node_ids:
                raise BadInputError(f"--fill {fill}: {name} has no node {node}; it has {topology.node_ids}.")
            if not topology.node(node).cpus:
                raise BadInputError(
                    f"--fill {fill}: node {node} of {name} has no CPUs, and QEMU fills memory from a node's CPUs.",
                    advice="Maybe fill the others: guests in need go there last.",
                )


def fillers(fill: Fill, host: str, snapshot: HostSnapshot, prefix: str) -> Iterator[Placement]:
    """For each node with more available than is to be left there, a guest that takes the difference."""
    for node_id, left_kib in sorted(fill.of_host(host).items()):
        available = snapshot.memory_of(NodeId(node_id)).available_kib
        if available is None:
            raise BadInputError(f"--fill {fill}: nobody tells how much is free on node {node_id} of {host}.")
        kib = (available - left_kib - _OVERHEAD_KIB) // _GRAIN_KIB * _GRAIN_KIB
        if kib > 0:
            yield _filler(GuestName(f"{prefix}fill-{node_id}"), HostName(host), NodeId(node_id), snapshot, kib)


def _filler(name: GuestName, host: HostName, node_id: NodeId, snapshot: HostSnapshot, kib: int) -> Placement:
    """On the last pCPU of the node, so that guests who want their own pCPUs find the others."""
    cpu = CpuSet.of(max(snapshot.topology.node(node_id).cpus.ids))
    cell = PlacedCell(
        cell=0,
        vcpus=CpuSet.of(0),
        cpus=cpu,
        cpu_nodes=NodeSet.of(node_id),
        pins={0: cpu},
        memory=(PlacedMemory(node_id=node_id, kib=kib),),
        memory_mode=MemoryMode.STRICT,
    )
    return Placement(guest=name, host=host, cells=(cell,), emulator_cpus=cpu)


def for_hypervisor(placement: Placement, kind: DefinitionKind) -> Placement:
    """The same where memory follows the pins."""
    if kind is DefinitionKind.KVM_XML:
        return placement
    cells = tuple(replace(cell, memory_mode=MemoryMode.AFFINITY) for cell in placement.cells)
    return replace(placement, cells=cells)


def told(fill: Fill, placements: Sequence[Placement]) -> str:
    """What a fill does, for people."""
    taken = (
        f"{format_kib_rounded(placement.cells[0].memory[0].kib)} on node {placement.memory_nodes} of {placement.host}"
        for placement in placements
    )
    return f"{fill}: takes {', '.join(taken) or 'nothing'}"
