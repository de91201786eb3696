"""A question in arrays as hosts and requests: what a policy is asked, objects and pCPUs included."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.patterns.question import Batch, Flavour, Supply
from policies.request import Group, GroupRule, GuestName, GuestRequest, HostName, Membership
from probe.cpuset import CpuSet, NodeId
from probe.topology import LOCAL_DISTANCE, HostTopology, NumaNode

REMOTE_DISTANCE = 21


def fleet_of(supply: Supply) -> Fleet:
    """Hosts with as many pCPUs and as much memory as is left; how far nodes are apart, the arrays do not tell."""
    return Fleet.of([_host(supply, number, rows) for number, rows in enumerate(pairwise(supply.first_row.tolist()))])


def _host(supply: Supply, number: int, rows: tuple[int, int]) -> HostCapacity:
    nodes: list[NumaNode] = []
    left: list[NodeCapacity] = []
    first, ids = 0, [NodeId(i) for i in range(rows[1] - rows[0])]
    for node_id, row in zip(ids, range(*rows), strict=True):
        cpus = CpuSet(frozenset(range(first, first + int(supply.cpus[row]))))
        first += len(cpus)
        memory = {page: int(kib[row]) for page, kib in supply.memory_kib.items()}
        apart = {other: LOCAL_DISTANCE if other == node_id else REMOTE_DISTANCE for other in ids}
        total_kib = max(1, sum(memory.values()))
        nodes.append(NumaNode(node_id=node_id, cpus=cpus, memory_total_kib=total_kib, distances=apart))
        left.append(NodeCapacity(node_id=node_id, free_cpus=cpus, shared_cpus=cpus, shared_vcpus=0, memory_kib=memory))
    return HostCapacity(
        name=HostName(f"h{number}"),
        topology=HostTopology(nodes=tuple(nodes), online_cpus=CpuSet(frozenset(range(first)))),
        nodes=tuple(left),
        domains={level: str(domain[number]) for level, domain in supply.domains.items()},
    )


def requests_of(batch: Batch) -> list[GuestRequest]:
    """The guests of the batch, in its order, each in the first form of its flavour."""
    groups: dict[int, list[Membership]] = defaultdict(list)
    for number, of in enumerate(batch.groups):
        group = Group(name=f"group{number}", rule=of.rule, level=of.level)
        for guest, part in zip(of.members.tolist(), of.parts.tolist(), strict=True):
            named = str(part) if of.rule is GroupRule.FAULT_DOMAINS else ""
            groups[guest].append(Membership(group=group, part=named))
    return [
        request_of(batch.flavours[flavour], f"g{number}", tuple(groups[number]))
        for number, flavour in enumerate(batch.flavour_of.tolist())
    ]


def request_of(flavour: Flavour, name: str, groups: tuple[Membership, ...] = ()) -> GuestRequest:
    """A guest of a flavour, in its first form."""
    shares = flavour.forms[0].shares
    return GuestRequest(
        name=GuestName(name),
        vcpus=sum(share.vcpus for share in shares),
        memory_kib=sum(share.memory_kib for share in shares),
        page_kib=flavour.page_kib,
        cells=len(shares),
        priority=max(1, flavour.weight),
        overhead_kib=flavour.overhead_kib,
        groups=groups,
    )
