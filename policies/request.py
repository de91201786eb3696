"""What a user asks for: one `GuestRequest` per guest."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NewType

from policies.asked import EmulatorPolicy, NearDevice, SmtPolicy, cpu_complaints, device_complaints, mode_complaints
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.topology import LOCAL_DISTANCE

GuestName = NewType("GuestName", str)
HostName = NewType("HostName", str)

GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,62}", re.ASCII)
"""Names we accept. libvirt itself accepts `-rf` and `$(id)` (measured; reliability.md 0.7)."""

PAGE_SIZES_KIB = (4, 2048, 1024 * 1024)
"""4 KiB, 2 MiB and 1 GiB: the page sizes that may back a guest (x86)."""

Cells = int | Literal["auto"]


class CpuPolicy(StrEnum):
    """Whether a guest's vCPUs own their pCPUs."""

    SHARED = "shared"
    DEDICATED = "dedicated"
    MIXED = "mixed"


class AskedMemoryMode(StrEnum):
    """How a guest asks for its memory to be bound, in libvirt's words; see `policies.plan.MemoryMode`."""

    AUTO = "auto"
    STRICT = "strict"
    PREFERRED = "preferred"
    RESTRICTIVE = "restrictive"


class GroupRule(StrEnum):
    """How the members of a group stand to each other."""

    AFFINITY = "affinity"
    """All in one domain of the group's level."""
    ANTI_AFFINITY = "anti-affinity"
    """No two in one domain."""
    FAULT_DOMAINS = "fault-domains"
    """A domain serves at most one part of the group; members of one part may share it."""
    ALL_OR_NOTHING = "all-or-nothing"
    """All members of a batch have a place, or none has one, wherever that is. Always hard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Guests that are to live together or apart.

    Attributes:
        name: groups of the same name are one group, also over several batches.
        level: what a domain is: "host", "package", "node", "l3", or a kind that hosts name in the hosts
            file ("rack", and any under `fault_domains`). A host that names none is a domain alone.
        hard: whether its rule must hold. A soft group is a wish: a plan that breaks it less is better.
        weight: of a soft group, how much each breach counts.
    """

    name: str
    rule: GroupRule
    level: str = "host"
    hard: bool = True
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A guest's place in a group; `part` is there in `fault-domains` only."""

    group: Group
    part: str = ""


class RequestInvalidError(BadInputError):
    """A request contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRequest:
    """One guest that wants a home.

    Attributes:
        name: unique in the batch.
        vcpus: number of vCPUs, at least 1.
        memory_kib: guest memory; a whole number of pages, and of MiB: libvirt would round it up
            beyond what was promised, and xl counts in nothing smaller.
        page_kib: the page size that must back all of it (hard).
        largest_pages: larger pages than `page_kib`, which is 4 KiB then, back it where the pools of the nodes
            that it lives on hold all of it (a preference; `by_pages`).
        cells: guest NUMA cells: `1` (one cell), a number (so many cells, each on a node of its
            own), or "auto": one cell if one node holds it, else as many cells as host nodes used.
        cell_sizes: vCPUs and memory of each guest cell, in the cells' order; empty for an even split.
            As many as `cells`, at least two, and together all of the guest.
        stack_cells: whether a host node may have several cells of a guest with a number of cells. They are
            dealt out in their order, to each node as many, or one fewer.
        max_nodes: most host nodes it may span (hard). None: 1 for `cells=1` (never spans unless
            allowed), `cells` for a number, no limit for "auto".
        max_distance: largest SLIT distance between any two nodes that it touches with pCPUs or
            memory, in either direction (hard); None for any.
        cpus: dedicated (each vCPU owns a pCPU), shared (all float on the node's shared pCPUs), or mixed.
        dedicated_vcpus: of a mixed guest, the vCPUs that own a pCPU each; the others float.
        smt: what else may run on the cores of its own pCPUs (hard).
        emulator: where the hypervisor's own threads run (hard).
        memory_mode: how its memory is bound (hard, KVM only). Other than "auto": each cell has one node;
            "preferred" and "restrictive" are for one cell, "restrictive" for 4 KiB pages.
        far_memory: whether its memory may lie on CPU-less nodes (CXL, HBM) that its CPU nodes reach (KVM only).
        priority: weight of placing it, at least 1; 10 counts as much as ten guests of 1.
        hosts: the only hosts it may live on (hard); None for any.
        overhead_kib: memory of the hypervisor process beside the guest's own, always in 4 KiB
            pages, on the first cell's node.
        devices: PCI devices that it must, or should, be near.
        groups: what it is a member of (each hard or soft).
        lifetime_s: how long it is expected to stay, in seconds; None: not known. Read by
            `policies.online` alone (a preference).
    """

    name: GuestName
    vcpus: int
    memory_kib: int
    page_kib: int = 4
    largest_pages: bool = False
    cells: Cells = 1
    cell_sizes: tuple[GuestShare, ...] = ()
    stack_cells: bool = False
    max_nodes: int | None = None
    max_distance: int | None = None
    cpus: CpuPolicy = CpuPolicy.SHARED
    dedicated_vcpus: CpuSet = CpuSet()
    smt: SmtPolicy = SmtPolicy.PREFER
    emulator: EmulatorPolicy = EmulatorPolicy.AUTO
    memory_mode: AskedMemoryMode = AskedMemoryMode.AUTO
    far_memory: bool = False
    priority: int = 1
    hosts: frozenset[HostName] | None = None
    overhead_kib: int = 0
    devices: tuple[NearDevice, ...] = ()
    groups: tuple[Membership, ...] = ()
    lifetime_s: int | None = None

    def __post_init__(self) -> None:
        for complaint in _complaints(self):
            raise RequestInvalidError(f"guest {self.name[:64]!r}: {complaint}.")

    @property
    def node_limit(self) -> int | None:
        """Most host nodes it may span; None for no limit."""
        if self.max_nodes is not None:
            return self.max_nodes
        return None if self.cells == "auto" else self.cells

    def by_pages(self) -> tuple[GuestRequest, ...]:
        """The request for each page size that may back it, the largest first: itself, unless it wants the largest.

        All its memory, and that of each cell whose size it names, is a whole number of such pages.
        """
        if not self.largest_pages:
            return (self,)
        amounts = [self.memory_kib, *(cell.memory_kib for cell in self.cell_sizes)]
        sizes = (4,) if self.memory_mode is AskedMemoryMode.RESTRICTIVE else PAGE_SIZES_KIB[::-1]
        return tuple(self.in_pages(size) for size in sizes if not any(kib % size for kib in amounts))

    def in_pages(self, page_kib: int) -> GuestRequest:
        """Itself, or where it wants the largest pages the request for this page size."""
        return replace(self, page_kib=page_kib, largest_pages=False) if self.largest_pages else self

    def shares(self, parts: int) -> tuple[GuestShare, ...]:
        """Split the guest over `parts` host nodes: vCPUs evenly, memory in proportion to them.

        The larger shares come first. Memory is split in whole pages, of 1 MiB at least (libvirt
        rounds a guest cell to MiB); what is left over goes to the first share. Cells that have
        sizes of their own keep them, and their order.
        """
        if self.stack_cells and isinstance(self.cells, int) and parts < self.cells:
            return tuple(_together(cells) for cells in self.dealt(parts))
        if len(self.cell_sizes) == parts:
            return self.cell_sizes
        grain = max(self.page_kib, 1024)
        base, extra = divmod(self.vcpus, parts)
        counts = [base + (1 if i < extra else 0) for i in range(parts)]
        memory = [self.memory_kib * n // self.vcpus // grain * grain for n in counts]
        memory[0] += self.memory_kib - sum(memory)
        return tuple(GuestShare(vcpus=n, memory_kib=m) for n, m in zip(counts, memory, strict=True))

    def dealt(self, parts: int) -> tuple[tuple[GuestShare, ...], ...]:
        """The guest cells on each of `parts` host nodes, in their order; one on each unless they are stacked."""
        cells = self.shares(self.cells) if self.stack_cells and isinstance(self.cells, int) else self.shares(parts)
        few, more = divmod(len(cells), parts)
        rest = iter(cells)
        return tuple(tuple(itertools.islice(rest, few + (i < more))) for i in range(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestShare:
    """What one host node has to give a guest that is split over several."""

    vcpus: int
    memory_kib: int


def _together(cells: Sequence[GuestShare]) -> GuestShare:
    return GuestShare(vcpus=sum(cell.vcpus for cell in cells), memory_kib=sum(cell.memory_kib for cell in cells))


def _is_cut(request: GuestRequest) -> bool:
    return request.page_kib in PAGE_SIZES_KIB and request.memory_kib % request.page_kib != 0


def _not_whole_mib(kib: int) -> str:
    below = kib // 1024
    return f"memory is {kib} KiB, which is not whole MiB: {below} MiB or {below + 1} MiB"


def _too_near(request: GuestRequest) -> str:
    return f"max_distance is {request.max_distance}, and a node is {LOCAL_DISTANCE} from itself"


def _complaints(request: GuestRequest) -> list[str]:
    limit = request.max_nodes
    checks = (
        (GUEST_NAME.fullmatch(request.name) is None, "a name has letters, digits and . _ + @ - only, and at most 63"),
        (request.vcpus < 1, f"needs at least 1 vCPU, has {request.vcpus}"),
        (request.memory_kib < 1, f"needs memory, has {request.memory_kib} KiB"),
        (request.page_kib not in PAGE_SIZES_KIB, f"page size {request.page_kib} KiB is none of {PAGE_SIZES_KIB}"),
        (request.largest_pages and request.page_kib != 4, "asks for the largest pages, and for a page size"),
        (_is_cut(request), f"memory is not whole pages of {request.page_kib} KiB"),
        (request.memory_kib % 1024 != 0, _not_whole_mib(request.memory_kib)),
        (request.priority < 1, f"priority starts at 1, is {request.priority}"),
        (request.overhead_kib < 0, "overhead is negative"),
        (request.lifetime_s is not None and request.lifetime_s < 1, "its lifetime is less than a second"),
        (request.cells != "auto" and request.cells < 1, f"needs at least 1 cell, has {request.cells}"),
        (request.cells != "auto" and request.cells > request.vcpus, "has more cells than vCPUs"),
        (limit is not None and limit < 1, "max_nodes starts at 1"),
        (
            limit is not None
            and request.cells not in ("auto", 1)
            and limit != request.cells
            and not request.stack_cells,
            "each cell has a node of its own: leave max_nodes away, or make it the number of cells",
        ),
        (request.stack_cells and request.cells in ("auto", 1), "stack_cells is for guests with a number of cells"),
        (request.max_distance is not None and request.max_distance < LOCAL_DISTANCE, _too_near(request)),
        (request.hosts is not None and not request.hosts, "no host is allowed"),
        *((True, complaint) for complaint in _cell_complaints(request)),
        *((True, complaint) for complaint in mode_complaints(request)),
        *((True, complaint) for complaint in cpu_complaints(request)),
        *((True, complaint) for complaint in device_complaints(request)),
        *((True, complaint) for complaint in _group_complaints(request)),
    )
    return [text for wrong, text in checks if wrong]


def _cell_complaints(request: GuestRequest) -> Iterator[str]:
    sizes, grain = request.cell_sizes, max(request.page_kib, 1024)
    if not sizes:
        return
    vcpus, memory_kib = sum(size.vcpus for size in sizes), sum(size.memory_kib for size in sizes)
    if len(sizes) < 2 or request.cells != len(sizes):
        yield f"has sizes for {len(sizes)} cells, and {request.cells} cells"
    if vcpus != request.vcpus:
        yield f"its cells have {vcpus} vCPUs together, and it has {request.vcpus}"
    if memory_kib != request.memory_kib:
        yield f"its cells have {memory_kib} KiB together, and it has {request.memory_kib} KiB"
    if any(size.vcpus < 1 or size.memory_kib < 1 or size.memory_kib % grain for size in sizes):
        yield f"each cell needs a vCPU, and memory in whole {grain} KiB"


def _group_complaints(request: GuestRequest) -> Iterator[str]:
    names = [member.group.name for member in request.groups]
    if len(set(names)) < len(names):
        yield f"is in one group twice: {', '.join(names)}"
    for member in request.groups:
        if member.group.rule is GroupRule.ALL_OR_NOTHING and not member.group.hard:
            yield f"group {member.group.name} is all or nothing, which is no wish: leave `hard` away"
        if (member.group.rule is GroupRule.FAULT_DOMAINS) != bool(member.part):
            needs = "needs the name of a part" if not member.part else "has no parts"
            yield f"group {member.group.name} ({member.group.rule}) {needs}"
