"""Which pairs of nodes are measured, with how much memory, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.memory.tools import LIST_BYTES, STREAM_PARTS, Bound, bandwidth_mib_s, latency_ns
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.topology import HostTopology

UNKNOWN_L3_KIB = 32 * 1024
"""Of a node whose L3 nobody tells, as in most guests."""

LEAST_KIB = 16 * 1024
"""With less memory than this nothing is measured: it would be a figure of caches."""

_BEYOND_L3 = 4
"""Arrays of this many times the L3: STREAM's own rule."""

_CHASE_GUESS_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Memory that is taken on one node, in KiB, by each of the two tools in its turn.

    Attributes:
        stream_kib, list_kib: what is taken.
        beyond_l3: whether both are so much larger than the L3 that caches hardly count.
    """

    stream_kib: int
    list_kib: int
    beyond_l3: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """CPUs of one node with memory of one node."""

    cpu_node: NodeId
    memory_node: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured of a pair: all CPUs of the node together, and one of them."""

    bandwidth_mib_s: float
    latency_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is to be measured.

    Attributes:
        cpus: node to the CPUs that are used there.
        amounts: node to what is taken of its memory.
        left_out: nodes that cannot be on one side, as sentences.
    """

    topology: HostTopology
    cpus: Mapping[NodeId, CpuSet]
    amounts: Mapping[NodeId, Amounts]
    left_out: tuple[str, ...]
    seconds: float

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(Pair(cpu_node=cpus, memory_node=memory) for cpus in self.cpus for memory in self.amounts)

    @property
    def guess_s(self) -> float:
        """About how long it takes."""
        return len(self.pairs) * (self.seconds + _CHASE_GUESS_S)


def course(snapshot: HostSnapshot, *, share: float, seconds: float) -> Course:
    """What can be measured with at most this share of each node's available memory.

    Raises:
        BadInputError: no node has both enough memory and somebody to reach it.
    """
    topology = snapshot.topology
    cpus = {node.node_id: node.cpus for node in topology.nodes if node.cpus}
    wanted = {node.node_id: _wanted(topology, node.cpus) for node in topology.nodes}
    widest = max((wanted[node] for node in cpus), key=lambda kib: kib[0], default=(0, 0))
    amounts, left_out = {}, [f"Node {n.node_id} has no CPUs." for n in topology.nodes if not n.cpus]
    for node in topology.nodes:
        room_kib = int((snapshot.memory_of(node.node_id).available_kib or 0) * share)
        if room_kib < LEAST_KIB:
            left_out.append(f"Node {node.node_id} has too little memory available to be measured.")
            continue
        stream_kib, list_kib = (min(room_kib, kib) for kib in widest)
        amounts[node.node_id] = Amounts(
            stream_kib=stream_kib, list_kib=list_kib, beyond_l3=(stream_kib, list_kib) == widest
        )
    if not cpus or not amounts:
        raise BadInputError(
            f"no node has CPUs and {LEAST_KIB // 1024}MiB within the share of its memory.",
            advice="Maybe a larger --share.",
        )
    return Course(topology=topology, cpus=cpus, amounts=amounts, left_out=tuple(left_out), seconds=seconds)


def _wanted(topology: HostTopology, cpus: CpuSet) -> tuple[int, int]:
    """KiB for the streams of all these CPUs, and for the list of one: beyond the L3 of each."""
    sizes = [domain.size_kib for domain in topology.l3 if domain.size_kib and not domain.cpus.isdisjoint(cpus)]
    sizes = sizes or [UNKNOWN_L3_KIB]
    return sum(sizes) * STREAM_PARTS, max(sizes) * _BEYOND_L3 * LIST_BYTES // 32


def measure(
    plan: Course, *, repeat: int = 1, on_pair: Callable[[Pair, Speed], None] = lambda *_: None
) -> dict[Pair, Speed]:
    """Measure one pair after the other; the best of `repeat` runs counts, because others disturb and never help.

    Raises:
        ToolFailedError: a tool failed.
    """
    found = {}
    for pair in plan.pairs:
        runs = [_measured(plan, pair) for _ in range(repeat)]
        found[pair] = Speed(
            bandwidth_mib_s=max(run.bandwidth_mib_s for run in runs), latency_ns=min(run.latency_ns for run in runs)
        )
        on_pair(pair, found[pair])
    return found


def _measured(plan: Course, pair: Pair) -> Speed:
    cpus, amounts = plan.cpus[pair.cpu_node], plan.amounts[pair.memory_node]
    nodes = NodeSet.of(pair.memory_node)
    return Speed(
        bandwidth_mib_s=bandwidth_mib_s(
            Bound(cpus=cpus, nodes=nodes),
            instances=len(cpus),
            memory_kib=amounts.stream_kib,
            seconds=plan.seconds,
        ),
        latency_ns=latency_ns(Bound(cpus=CpuSet.of(min(cpus.ids)), nodes=nodes), memory_kib=amounts.list_kib),
    )
