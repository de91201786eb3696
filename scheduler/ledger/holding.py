"""What a placement holds in the books, and what the host leaves for it: pure arithmetic.

A look at a host tells what may *still* be promised, the claims that it counted taken off. The
books keep what may be promised *in all*: that remainder + what those claims hold. A claim that was
reserved meanwhile is thus in `used` and not in the limit, so the constraint sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from policies.capacity import HostCapacity
from policies.demand import Demand, demand_of, memory_taken
from policies.errors import DoesNotFitError
from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.units import format_kib
from scheduler.ledger.values import WHOLE_HOST, Booked, ConflictError, Holding, Limits, SharedLimit


def holding_of(placement: Placement, capacity: HostCapacity) -> Holding:
    """What the placement would hold on this host.

    Raises:
        ConflictError: a pCPU or a node that it names is not to be had there (any more).
    """
    try:
        demand = demand_of(placement, capacity)
    except DoesNotFitError as error:
        raise ConflictError(error.message, host=capacity.name) from error
    own = CpuSet(frozenset[int]().union(*(need.cpus for need in demand.nodes.values())))
    used = placement.cpus
    may_run = capacity.topology.online_cpus if used is None else used | (placement.emulator_cpus or CpuSet())
    return Holding(
        own_cpus=own,
        floating_cpus=(may_run & capacity.topology.online_cpus) - own - capacity.housekeeping_cpus,
        memory_kib=_memory(placement),
        shared_vcpus=_shared(demand),
    )


def limits_of(holding: Holding, capacity: HostCapacity, booked: Booked) -> Limits:
    """What all claims together may hold, at every place that `holding` touches.

    pCPUs that were dedicated since the look, and those that `holding` takes, are no shared ones any
    more. A node that strangers crowd takes no room from the others of its host.
    """
    memory: Counter[tuple[int, int]] = Counter(booked.counted.memory_kib)
    for node in capacity.nodes:
        for page_kib, kib in node.memory_kib.items():
            memory[node.node_id, page_kib] += kib
            memory[WHOLE_HOST, page_kib] += kib
    return Limits(
        memory_kib={place: memory[place] for place in holding.memory_kib},
        shared=_shared_limits(holding, capacity, booked),
    )


def _shared_limits(holding: Holding, capacity: HostCapacity, booked: Booked) -> dict[int, SharedLimit]:
    owned = booked.own_cpus | holding.own_cpus
    seen = {node.node_id: (len(node.shared_cpus - owned), node.shared_vcpus) for node in capacity.nodes}
    crowds = [min(vcpus, int(capacity.overcommit * cpus)) for cpus, vcpus in seen.values()]
    whole = (sum(cpus for cpus, _ in seen.values()), sum(crowds))
    limits = {
        node: SharedLimit(
            cpus=cpus, others=vcpus - booked.counted.shared_vcpus.get(node, 0), overcommit=capacity.overcommit
        )
        for node, (cpus, vcpus) in [*seen.items(), (WHOLE_HOST, whole)]
    }
    narrowed: set[int] = {n.node_id for n in capacity.nodes if not n.shared_cpus.isdisjoint(holding.own_cpus)}
    if narrowed:
        narrowed.add(WHOLE_HOST)
    return {node: limits[node] for node in holding.shared_vcpus} | {
        node: _beside_ours(limits[node], booked.shared_vcpus.get(node, 0))
        for node in narrowed - holding.shared_vcpus.keys()
    }


def _beside_ours(limit: SharedLimit, promised: int) -> SharedLimit:
    """Who takes a shared pCPU for himself answers for what we promised there, not for a crowd of strangers."""
    room = int(limit.overcommit * limit.cpus)
    return replace(limit, others=min(limit.others, max(0, room - promised)))


def holding_of_present(placement: Placement, capacity: HostCapacity) -> Holding:
    """What a guest that is there already holds, however it is bound.

    A vCPU whose pCPUs are of several nodes counts on none of them, only on the whole host: on the
    nodes the looks go on seeing it.
    """
    topology, used = capacity.topology, placement.cpus
    own = placement.own_cpus
    may_run = topology.online_cpus if used is None else used | (placement.emulator_cpus or CpuSet())
    shared: Counter[int] = Counter()
    shared[WHOLE_HOST] += sum(len(cell.vcpus) for cell in placement.cells) - len(placement.dedicated_vcpus)
    near = [topology.nodes_of_cpus(pin) for pin in placement.floating_pins.values()]
    shared.update(next(iter(nodes.ids)) for nodes in near if len(nodes) == 1)
    return Holding(
        own_cpus=own,
        floating_cpus=(may_run & topology.online_cpus) - own - capacity.housekeeping_cpus,
        memory_kib=_memory(placement),
        shared_vcpus={node: vcpus for node, vcpus in shared.items() if vcpus},
    )


def limits_with_present(holding: Holding, capacity: HostCapacity, booked: Booked) -> Limits:
    """The limits once a guest that is there has its rows; they are never less than what is there.

    A host that strangers have filled over our overcommit stays as full as it is: its next
    reservation looks again, and is refused.
    """
    memory = Counter(booked.counted.memory_kib) + Counter(holding.memory_kib)
    shared = Counter(booked.counted.shared_vcpus) + Counter(holding.shared_vcpus)
    counted = Holding(memory_kib=memory, shared_vcpus=shared)
    limits = limits_of(holding, capacity, replace(booked, counted=counted))
    return replace(limits, shared={node: _not_exceeded(limit, shared[node]) for node, limit in limits.shared.items()})


def _not_exceeded(limit: SharedLimit, promised: int) -> SharedLimit:
    most = int(limit.overcommit * limit.cpus) - promised
    return replace(limit, others=min(limit.others, most))


def shortages(placement: Placement, capacity: HostCapacity) -> tuple[str, ...]:
    """What the host lacks for a new placement that `capacity` has not taken off; empty when it fits.

    An unpinned guest is bound to no node, so there is no node whose memory could be lacking.
    """
    if not (capacity.schedulable or capacity.cordoned):  # what is cordoned, the books say themselves
        return (f"{capacity.name} takes no new guests (hosts file, `schedulable: false`)",)
    try:
        holding = holding_of(placement, capacity)
    except ConflictError as error:
        return (error.message.removeprefix(f"guest {placement.guest}: ").rstrip("."),)
    return (*_cpus_lacking(holding, capacity), *_memory_lacking(holding, capacity))


def _cpus_lacking(holding: Holding, capacity: HostCapacity) -> Iterator[str]:
    free = CpuSet.union(node.free_cpus for node in capacity.nodes)
    if taken := holding.own_cpus - free:
        yield f"pCPUs {taken} of {capacity.name} are not free any more"
    for node in capacity.nodes:
        vcpus = holding.shared_vcpus.get(node.node_id, 0)
        left = node.shared_cpus - holding.own_cpus
        room = int(capacity.overcommit * len(left)) - node.shared_vcpus
        if vcpus > max(0, room):
            yield f"node {node.node_id} of {capacity.name} has room for {max(0, room)} shared vCPUs, not {vcpus}"


def _memory_lacking(holding: Holding, capacity: HostCapacity) -> Iterator[str]:
    for (node_id, page_kib), kib in sorted(holding.memory_kib.items()):
        if node_id == WHOLE_HOST:
            continue
        left = capacity.node(node_id).memory_kib.get(page_kib, 0)
        if kib > left:
            what = f"{format_kib(left)} left in pages of {format_kib(page_kib)}"
            yield f"node {node_id} of {capacity.name} has {what}, {format_kib(kib)} are needed"


def _memory(placement: Placement) -> Mapping[tuple[int, int], int]:
    memory: Counter[tuple[int, int]] = Counter()
    for node_id, pages in memory_taken(placement).items():
        for page_kib, kib in pages.items():
            memory[WHOLE_HOST, page_kib] += kib
            if node_id is not None:
                memory[node_id, page_kib] += kib
    return {place: kib for place, kib in memory.items() if kib}


def _shared(demand: Demand) -> Mapping[int, int]:
    shared = {node: need.shared_vcpus for node, need in demand.nodes.items() if need.shared_vcpus}
    total = sum(shared.values()) + demand.loose_vcpus
    return {**shared, WHOLE_HOST: total} if total else {}
