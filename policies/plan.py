"""What should be: a decision per guest, and how good the whole is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from policies.asked import EmulatorPolicy, NearDevice, SmtPolicy
from policies.request import GuestName, HostName, Membership
from probe.cpuset import CpuSet, NodeId, NodeSet


class Reason(StrEnum):
    """Why a guest has no home. Counted in reports, so the set is closed."""

    MEMORY = "memory"
    HUGEPAGES = "hugepages"
    PCPUS = "pcpus"
    DEVICE = "device"
    """No host has the device that it must be near, or tells where that is."""
    HOST = "host"
    """No host that it may live on exists or takes guests."""
    GROUP = "group"
    """Fits, but for the members of its groups."""
    UNSUPPORTED = "unsupported"
    """The hypervisor, or the policy, cannot do what it asks for."""
    CONTENTION = "contention"
    """Fits alone, but not with the guests of its batch."""
    TIME_LIMIT = "time-limit"
    """Fits alone, but the search stopped before it found a place, or proved that there is none."""


class MemoryMode(StrEnum):
    """How the memory is bound, in libvirt's words (`<numatune>`); what binds on Xen is affinity."""

    STRICT = "strict"
    RESTRICTIVE = "restrictive"
    PREFERRED = "preferred"
    INTERLEAVE = "interleave"
    """Evenly over the nodes: one guest cell that spans several."""
    AFFINITY = "affinity"
    """Xen: memory follows the hard affinity that exists at creation."""
    NONE = "none"
    """Not bound at all: what happens without us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedMemory:
    """So much memory of a cell, in pages of one size, on one node; None: wherever it falls."""

    node_id: NodeId | None
    kib: int
    page_kib: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCell:
    """Where one guest NUMA cell lives.

    Attributes:
        cell: index of the guest cell, from 0.
        vcpus: indices of the guest's vCPUs in this cell (guest numbering).
        cpus: union of the pCPUs that these vCPUs may use; None for unpinned.
        cpu_nodes: the nodes of `cpus`; None for unpinned. Differs from the memory's nodes when
            the memory lies on a CPU-less node.
        pins: vCPU index to the pCPUs it may use: one pCPU when dedicated, the shared set when
            not. Empty for unpinned.
        memory: shares of the cell's memory; several when one cell spans nodes.
    """

    cell: int
    vcpus: CpuSet
    cpus: CpuSet | None
    cpu_nodes: NodeSet | None
    pins: Mapping[int, CpuSet]
    memory: tuple[PlacedMemory, ...]
    memory_mode: MemoryMode

    def __post_init__(self) -> None:
        object.__setattr__(self, "pins", MappingProxyType(dict(self.pins)))

    def __hash__(self) -> int:
        return hash((self.cell, self.vcpus, self.cpus))

    @property
    def memory_nodes(self) -> NodeSet:
        """The nodes that its memory is bound to; empty for unpinned."""
        return NodeSet(frozenset(m.node_id for m in self.memory if m.node_id is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A home: a host, and for every guest cell its pCPUs and the nodes of its memory.

    Attributes:
        emulator_cpus: pCPUs of the hypervisor's own threads for this guest; None for unpinned.
        dedicated_vcpus: those that own the pCPU of their pin; the others float.
        emulator, smt: the request's, so that a guest that is there is placed again as it was asked for. What was asked
            of its emulator threads is None where nobody has told: it was adopted, or placed before this was kept.
        booked_cpus: pCPUs that are its own beside those of its vCPUs: one of the emulator alone, and thread
            siblings that stay idle.
        far_memory: the request's, for the same reason; also of a guest that was adopted with its memory far.
        overhead_kib: the request's overhead: 4 KiB memory on the first cell's memory node, to which libvirt confines
            the hypervisor's process too (`numatune` sets its cpuset or policy), wherever its threads run.
        devices, groups: the request's, so that later plans keep to them.
    """

    guest: GuestName
    host: HostName
    cells: tuple[PlacedCell, ...]
    emulator_cpus: CpuSet | None
    emulator: EmulatorPolicy | None = None
    dedicated_vcpus: CpuSet = CpuSet()
    smt: SmtPolicy = SmtPolicy.PREFER
    booked_cpus: CpuSet = CpuSet()
    far_memory: bool = False
    overhead_kib: int = 0
    devices: tuple[NearDevice, ...] = ()
    groups: tuple[Membership, ...] = ()

    @property
    def cpus(self) -> CpuSet | None:
        """Union of the pCPUs of all cells; None for unpinned."""
        sets = [cell.cpus for cell in self.cells if cell.cpus is not None]
        return CpuSet.union(sets) if sets else None

    @property
    def dedicated(self) -> bool:
        """Whether any of its vCPUs owns a pCPU."""
        return bool(self.dedicated_vcpus)

    @property
    def own_cpus(self) -> CpuSet:
        """The pCPUs that are nobody else's; none for a shared guest."""
        pins = [pin for cell in self.cells for vcpu, pin in cell.pins.items() if vcpu in self.dedicated_vcpus]
        return CpuSet.union([*pins, self.booked_cpus])

    @property
    def floating_pins(self) -> Mapping[int, CpuSet]:
        """The pins of the vCPUs that float."""
        everybody = ((vcpu, pin) for cell in self.cells for vcpu, pin in cell.pins.items())
        return {vcpu: pin for vcpu, pin in everybody if vcpu not in self.dedicated_vcpus}

    @property
    def memory_nodes(self) -> NodeSet:
        return NodeSet.union(cell.memory_nodes for cell in self.cells)

    @property
    def cpu_nodes(self) -> NodeSet | None:
        """The nodes of `cpus`; None for unpinned."""
        sets = [cell.cpu_nodes for cell in self.cells if cell.cpu_nodes is not None]
        return NodeSet.union(sets) if sets else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """No home, and why.

    Attributes:
        detail: a sentence with amounts and places: "node 1 of h2 lacks 3072MiB".
        fits_if: the smallest change found that would make it fit; "" where none was found.
    """

    guest: GuestName
    reason: Reason
    detail: str
    fits_if: str = ""


Decision = Placement | Rejection


class SolveStatus(StrEnum):
    """How far the answer is proven."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One tier of the lexicographic objective; lower tiers count only among equals of the higher.

    Attributes:
        tier: 1 counts first.
        name: its terms with their weights (`policies.objective`): "distance", "10*nodes-spanned + distance".
        value: what the plan reaches.
        bound: no plan with the reported values of the higher tiers can do better than this; None
            where the policy proves nothing.
        more_is_better: else less is.
        constant: every plan with the reported values of the higher tiers has this value.
    """

    tier: int
    name: str
    value: int
    bound: int | None = None
    more_is_better: bool = False
    constant: bool = False

    @property
    def gap(self) -> float | None:
        """|value − bound| ÷ max(1, |value|); None where nothing is proven."""
        return None if self.bound is None else abs(self.value - self.bound) / max(1, abs(self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a policy returns: one decision per request, in request order, and how good it is.

    Attributes:
        limited_by: what ended the search before a proof, as a noun: "the time limit of 30s"; "" where nothing did.
    """

    decisions: tuple[Decision, ...]
    objective: tuple[Tier, ...] = ()
    status: SolveStatus = SolveStatus.FEASIBLE
    limited_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An answer, and how it came about.

    Attributes:
        decisions: one per request, in request order.
        policy: the name it is found by.
        wall_s: how long the policy took.
        limited_by: as the answer's.
    """

    decisions: tuple[Decision, ...]
    policy: str
    seed: int = 0
    objective: tuple[Tier, ...] = ()
    status: SolveStatus = SolveStatus.FEASIBLE
    wall_s: float = 0.0
    limited_by: str = ""

    @property
    def placements(self) -> tuple[Placement, ...]:
        return tuple(d for d in self.decisions if isinstance(d, Placement))

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        return tuple(d for d in self.decisions if isinstance(d, Rejection))
