"""What a plan uses of each node, as amounts; and what the terms that ask for more than counts make of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from policies.capacity import HostCapacity, NodeCapacity
from policies.cores import whole_cores
from policies.demand import memory_taken
from policies.fleet import Fleet
from policies.homes import Home, has_own_pcpus, homes, part_counts, refusal, split
from policies.l3 import NO_NEEDS, L3Need, deal_cores, l3_rooms
from policies.plan import Placement
from policies.request import GuestRequest, GuestShare

Use = Mapping[tuple[str, int], "NodeUse"]
"""What is used, by host and node."""


@dataclass(slots=True, kw_only=True)
class NodeUse:
    """Of one node, by the guests of a plan.

    Attributes:
        dedicated: pCPUs that are one guest's own, and the
        lost: number of them that were shared.
        shared: shared vCPUs, and the
        largest: number of them that one guest has.
        memory_kib: by page size.
    """

    dedicated: int = 0
    lost: int = 0
    shared: int = 0
    largest: int = 0
    memory_kib: Counter[int] = field(default_factory=Counter)

    def add_shared(self, vcpus: int, guests: int = 1) -> None:
        """So many guests have so many shared vCPUs each here."""
        self.shared += vcpus * guests
        self.largest = max(self.largest, vcpus)


def use_of(placements: Iterable[Placement], fleet: Fleet) -> Use:
    """Added up from placements; what is bound to no node is left out."""
    used: dict[tuple[str, int], NodeUse] = defaultdict(NodeUse)
    for placement in placements:
        host = fleet.host(placement.host)
        node_of = {cpu: node.node_id for node in host.topology.nodes for cpu in node.cpus.ids}
        pins = placement.floating_pins.values()
        for node, vcpus in Counter(node_of[min(pin)] for pin in pins if pin).items():
            used[host.name, node].add_shared(vcpus)
        for node, pcpus in Counter(node_of[cpu] for cpu in placement.own_cpus).items():
            used[host.name, node].dedicated += pcpus
        for there in host.nodes if placement.own_cpus else ():
            used[host.name, there.node_id].lost += len(placement.own_cpus & there.shared_cpus)
        for memory_node, pages in memory_taken(placement).items():
            if memory_node is not None:
                used[placement.host, memory_node].memory_kib.update(pages)
    return used


NOTHING = NodeUse()


def load_squares(fleet: Fleet, used: Use) -> int:
    """Σ over nodes of the square of their load."""
    return sum(
        load_percent(host, node, used.get((host.name, node.node_id), NOTHING)) ** 2 for host, node in _nodes(fleet)
    )


def _nodes(fleet: Fleet) -> Iterable[tuple[HostCapacity, NodeCapacity]]:
    return ((host, node) for host in fleet for node in host.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """What a node has and what is taken of it before the plan: pCPUs and vCPUs, KiB."""

    pcpus: int
    vcpus: int
    total_kib: int
    taken_kib: int


def loads_of(host: HostCapacity, node: NodeCapacity) -> Loads:
    """Before the plan. pCPUs that are nobody's to have, and memory that is not promised, count as taken."""
    there = host.topology.node(node.node_id)
    pcpus = len(there.cpus)
    offered_kib = sum(node.memory_kib.values())
    total_kib = max(there.memory_total_kib or 0, offered_kib)
    return Loads(
        pcpus=pcpus,
        vcpus=pcpus - len(node.free_cpus | node.shared_cpus) + node.shared_vcpus,
        total_kib=total_kib,
        taken_kib=total_kib - offered_kib,
    )


def load_percent(host: HostCapacity, node: NodeCapacity, used: NodeUse) -> int:
    """How full a node is: its pCPUs by vCPUs, or its memory, whichever is fuller; in per cent, rounded up."""
    loads = loads_of(host, node)
    cpus = percent(loads.vcpus + used.dedicated + used.shared, loads.pcpus)
    return max(cpus, percent(loads.taken_kib + sum(used.memory_kib.values()), loads.total_kib))


def percent(part: int, whole: int) -> int:
    """Rounded up; 0 of nothing."""
    return -(-100 * part // whole) if whole else 0


def kept_for(flavour: GuestRequest, fleet: Fleet, used: Use) -> int:
    """How many guests of the flavour would fit beside a plan, Σ over hosts."""
    return sum(_kept_on(flavour, host, used) for host in fleet)


def _kept_on(flavour: GuestRequest, host: HostCapacity, used: Use) -> int:
    """On one host: of guests with k parts, no two on a node, the most N with Σ over nodes min(N, parts held) ≥ kN."""
    reference = reference_on(flavour, host)
    if reference is None:
        return 0
    held = [_held(flavour, host, home, reference.share, used) for home in reference.homes]
    low, high = 0, sum(held) // reference.parts
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(middle, n) for n in held) >= reference.parts * middle:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A reference flavour on a host: the parts of one guest, the largest of them, and the homes with own memory."""

    parts: int
    share: GuestShare
    homes: tuple[Home, ...]


def reference_on(flavour: GuestRequest, host: HostCapacity) -> Reference | None:
    """The fewest parts that it may have there, each as large as the first; None where the host refuses it.

    Far memory is not counted, whoever may have it.
    """
    counts = () if refusal(flavour, host) is not None else part_counts(flavour, host)
    if not counts:
        return None
    own = tuple(home for home in homes(host) if home.cpu_node == home.memory_node)
    return Reference(parts=min(counts), share=split(flavour, host, min(counts))[0], homes=own)


def memory_of(flavour: GuestRequest, share: GuestShare) -> Mapping[int, int]:
    """What a part of a reference guest takes, by page size: each has all of the overhead."""
    memory = Counter({flavour.page_kib: share.memory_kib})
    memory[4] += flavour.overhead_kib
    return +memory


def _held(flavour: GuestRequest, host: HostCapacity, home: Home, share: GuestShare, used: Use) -> int:
    """How many such parts the node holds beside the plan."""
    node, here = host.node(home.cpu_node), used.get((host.name, home.cpu_node), NOTHING)
    by_memory = min(
        max(0, node.memory_kib.get(page, 0) - here.memory_kib[page]) // kib
        for page, kib in memory_of(flavour, share).items()
    )
    if not has_own_pcpus(flavour):
        left = len(node.shared_cpus) - here.lost
        room = int(host.overcommit * left) - node.shared_vcpus - here.shared
        return max(0, min(by_memory, room // share.vcpus)) if share.vcpus <= left else 0
    return min(by_memory, max(0, _free_beside(host, node, here) - here.dedicated) // share.vcpus)


def shared_lost(
    host: HostCapacity, node: NodeCapacity, *, pcpus: int, cores: int, told: Mapping[int, L3Need] = NO_NEEDS
) -> int:
    """The fewest shared pCPUs among so many that become dedicated, of which so many cores are whole ones.

    Args:
        told: what of them is of which L3 domain.
    """
    only_free = len(node.free_cpus - node.shared_cpus)
    if told:
        rooms = l3_rooms(host, node)
        dealt = deal_cores(rooms, told, cores)
        of_l3 = sum(room.lost(dealt[i], told[i].single if i in told else 0) for i, room in rooms.items())
        return max(0, pcpus - only_free, of_l3)
    whole = whole_cores(host.topology, node.free_cpus.ids) if cores else []
    return max(0, pcpus - only_free, sum(sorted(len(core & node.shared_cpus.ids) for core in whole)[:cores]))


def _free_beside(host: HostCapacity, node: NodeCapacity, here: NodeUse) -> int:
    """pCPUs that may be dedicated in all, so that the plan's shared guests still have theirs."""
    if not here.shared:
        return len(node.free_cpus)
    needed = max(
        here.largest, -(-(node.shared_vcpus + here.shared) * host.overcommit.denominator // host.overcommit.numerator)
    )
    only_free = len(node.free_cpus - node.shared_cpus)
    return min(len(node.free_cpus), only_free + max(0, len(node.shared_cpus) - needed))
