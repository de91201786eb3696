"""What the rules of the checker look at, and what they answer. See `policies.check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.plan import Decision, PlacedCell, Placement
from policies.request import CpuPolicy, GuestRequest
from probe.cpuset import CpuSet, NodeSet
from probe.snapshot import Hypervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A hard rule that a plan breaks. `rule` is the name of the function that says so."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A placement beside what was asked for and the host as it was before the plan."""

    request: GuestRequest
    placement: Placement
    host: HostCapacity

    @property
    def cells(self) -> tuple[PlacedCell, ...]:
        return self.placement.cells

    @property
    def pinned(self) -> bool:
        """Whether any of its cells is bound to pCPUs."""
        return any(cell.cpus is not None for cell in self.cells)

    @property
    def owners(self) -> frozenset[int]:
        """The vCPUs that want a pCPU each of their own."""
        if self.request.cpus is CpuPolicy.DEDICATED:
            return frozenset(range(self.request.vcpus))
        return self.request.dedicated_vcpus.ids if self.request.cpus is CpuPolicy.MIXED else frozenset()

    @property
    def own_pins(self) -> list[CpuSet]:
        """The pCPUs of each vCPU that the placement gives its own."""
        return [pin for vcpu, pin in self.pins() if vcpu in self.placement.dedicated_vcpus.ids]

    @property
    def own_cpus(self) -> CpuSet:
        """What the placement takes for its guest alone."""
        return CpuSet.union([*self.own_pins, self.placement.booked_cpus])

    @property
    def floating_pins(self) -> list[tuple[int, CpuSet]]:
        """The vCPUs that share, each with its pCPUs."""
        return [(vcpu, pin) for vcpu, pin in self.pins() if vcpu not in self.placement.dedicated_vcpus.ids]

    @property
    def on_xen(self) -> bool:
        return self.host.hypervisor is Hypervisor.XEN

    @property
    def cpu_nodes(self) -> NodeSet:
        return NodeSet.union(cell.cpu_nodes or NodeSet() for cell in self.cells)

    @property
    def memory_nodes(self) -> set[int]:
        """Nodes that its memory is bound to."""
        return {m.node_id for cell in self.cells for m in cell.memory if m.node_id is not None}

    def pins(self) -> Iterator[tuple[int, CpuSet]]:
        """Each vCPU's pCPUs, of all cells."""
        for cell in self.cells:
            yield from cell.pins.items()

    def node(self, node_id: int) -> NodeCapacity | None:
        return next((n for n in self.host.nodes if n.node_id == node_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A plan under examination.

    Attributes:
        placed: every placement whose guest was asked for and whose host exists; the others are
            the business of two rules only.
        placed_on: the same, by the name of the host; hosts without any are left out.
    """

    decisions: tuple[Decision, ...]
    requests: tuple[GuestRequest, ...]
    hosts: Mapping[str, HostCapacity]
    placed: tuple[Placed, ...]
    placed_on: Mapping[str, tuple[Placed, ...]]

    @classmethod
    def of(cls, decisions: Sequence[Decision], requests: Sequence[GuestRequest], fleet: Fleet) -> Case:
        hosts: dict[str, HostCapacity] = {host.name: host for host in fleet.hosts}
        asked = {request.name: request for request in requests}
        placed = [
            Placed(request=asked[d.guest], placement=d, host=hosts[d.host])
            for d in decisions
            if isinstance(d, Placement) and d.guest in asked and d.host in hosts
        ]
        placed_on: dict[str, list[Placed]] = {}
        for p in placed:
            placed_on.setdefault(p.host.name, []).append(p)
        return cls(
            decisions=tuple(decisions),
            requests=tuple(requests),
            hosts=hosts,
            placed=tuple(placed),
            placed_on={name: tuple(some) for name, some in placed_on.items()},
        )

    def guests_of(self, host_name: str) -> tuple[Placed, ...]:
        return self.placed_on.get(host_name, ())


Rule = Callable[[Case], Iterator[str]]
"""Yields one sentence per breach, without the rule's name."""
