"""What a rebalancing is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from policies.as_placed import housekeeping_near, request_as_placed
from policies.fleet import Fleet
from policies.objective import DEFAULT_OBJECTIVE, Objective
from policies.plan import MemoryMode, Placement, Tier
from policies.request import GuestRequest, HostName
from probe.cpuset import CpuSet, NodeId
from probe.snapshot import Hypervisor
from probe.topology import LOCAL_DISTANCE, HostTopology


class StepKind(StrEnum):
    """What is done to a guest."""

    RE_PIN = "re-pin"
    """Other pCPUs; its memory stays."""
    MOVE_MEMORY = "move-memory"
    """Other nodes of its host; its memory follows while it runs."""
    MIGRATE = "migrate"
    """Another host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A guest that is there and may be moved.

    Attributes:
        request: what it asks for wherever it goes; `asked_by` makes one of a placement.
        memory_follows: whether its memory goes to another node while it runs. If so, only to one node.
        may_migrate: whether it may go to another host of the same hypervisor.
    """

    request: GuestRequest
    placement: Placement
    memory_follows: bool = False
    may_migrate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much may be done: steps of any kind, and memory that is copied."""

    most_moves: int = 10
    most_memory_kib: int = 64 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    During a step the guest holds its old place and its new one; after it only the new one.

    Attributes:
        fleet: as if none of `guests` were there. No host of it is closed for those who stand there.
        guests: who may be moved.
        wanted: guests that are to find a place at the end. Without any, the objective is to come down.
        fixed: guests of ours that stay where they are; `fleet` has taken them off.
        objective: what is to get better.
        closed: hosts, and nodes (host, node), to which nobody is moved.
    """

    fleet: Fleet
    guests: tuple[Standing, ...]
    wanted: tuple[GuestRequest, ...] = ()
    fixed: tuple[Placement, ...] = ()
    budget: Budget = field(default_factory=Budget)
    objective: Objective = DEFAULT_OBJECTIVE
    closed_hosts: frozenset[HostName] = frozenset()
    closed_nodes: frozenset[tuple[HostName, NodeId]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One guest goes from one place to another.

    Attributes:
        kib: memory that is copied.
    """

    kind: StepKind
    origin: Placement
    target: Placement
    kib: int


class Limit(StrEnum):
    """What kept the search from proving its answer."""

    NONE = "nothing"
    """It is proven."""
    TIME = "time"
    """The time was over, or the looks, before all states were known."""
    STATES = "states"
    """There are more states than are remembered."""
    WAYS = "ways"
    """Not every way to live anywhere was looked at, or counts of pCPUs do not tell all: whole cores, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebalancing:
    """The answer.

    Attributes:
        steps: in this order; none where nothing helps.
        placed: of the wanted guests those that fit at the end, and where.
        before, after: the tiers of the objective over all guests of ours, and the wanted ones that have a place.
        limit: what kept it from a proof.
        looked_through: whether what is done the quick way came to its end, whatever it found.
    """

    steps: tuple[Step, ...]
    placed: tuple[Placement, ...]
    before: tuple[Tier, ...]
    after: tuple[Tier, ...]
    limit: Limit
    looked_through: bool = True

    @property
    def proven(self) -> bool:
        """Whether no steps within the budget reach more; or as much with less memory copied, or with as much in fewer
        steps."""
        return self.limit is Limit.NONE

    @property
    def moved_kib(self) -> int:
        return sum(step.kib for step in self.steps)


def asked_by(placement: Placement, topology: HostTopology, housekeeping_cpus: CpuSet = CpuSet()) -> GuestRequest:
    """What a guest asks for wherever it goes, as far as its placement tells: also no nodes farther apart than now.

    Args:
        housekeeping_cpus: of its host.

    Raises:
        RequestInvalidError: it is no placement of ours: odd sizes.
    """
    touched = topology.node_ids if placement.cpu_nodes is None else placement.cpu_nodes | placement.memory_nodes
    width = max((topology.distance(a, b) for a in touched for b in touched), default=LOCAL_DISTANCE)
    near = housekeeping_near(placement, topology, housekeeping_cpus)
    return replace(request_as_placed(placement, most_nodes=1, housekeeping_cpus=near), max_distance=width)


def merged(derived: GuestRequest, told: GuestRequest) -> GuestRequest:
    """What the placement tells of a running guest, and what only its entry in the fleet file knows."""
    return replace(
        derived,
        hosts=told.hosts,
        max_distance=told.max_distance,
        max_nodes=told.max_nodes if derived.cells == 1 and told.cells == 1 else derived.max_nodes,
        stack_cells=derived.stack_cells or (told.stack_cells and derived.cells == told.cells),
        far_memory=derived.far_memory or told.far_memory,
        priority=told.priority,
    )


def memory_can_follow(placement: Placement, hypervisor: Hypervisor | None) -> bool:
    """Whether a running guest's memory goes along to another node: KVM, 4 KiB pages, `restrictive` or no mode."""
    modes = {cell.memory_mode for cell in placement.cells}
    pages = {share.page_kib for cell in placement.cells for share in cell.memory}
    free = modes <= {MemoryMode.RESTRICTIVE, MemoryMode.NONE} and len(placement.cells) == 1 and pages == {4}
    return free and hypervisor is not Hypervisor.XEN
