"""A made-up host: `synthetic:package:2 node:2 l3:2 core:4 pu:2 memory:64GiB distance:10,12,21`.

Levels are nested as written, each with its number per parent: `package`, `die`, `node`, `l3`,
`core`, `pu` (SMT siblings), in this order, any of them left out meaning one. CPUs are numbered
depth first, so SMT siblings are neighbours. Beside the levels: `memory` of each node,
`memory-only:N` further nodes without CPUs, `hugepages:2MiB=512` of each node (repeatable), and
`distance:` local, between nodes of one package, between packages (the last one holds for all that
are farther; default 10,20).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from probe.cpuset import MAX_ID, CpuSet, NodeId
from probe.errors import SourceMalformedError
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot, HugepagePool, NodeMemory
from probe.topology import Core, Die, HostTopology, L3Domain, NumaNode, Package
from probe.units import parse_size_kib

LEVELS = ("package", "die", "node", "l3", "core", "pu")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    counts: dict[str, int]
    memory_kib: int
    memory_only: int
    pools: tuple[HugepagePool, ...]
    distances: tuple[int, ...]


def read_synthetic(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Make the host that the text describes. Raises `SourceMalformedError`, with the bad word."""
    del limits
    recipe = _recipe(rest, spec)
    cpus_per_node = recipe.counts["l3"] * recipe.counts["core"] * recipe.counts["pu"]
    per_package = recipe.counts["die"] * recipe.counts["node"]
    with_cpus = recipe.counts["package"] * per_package
    if with_cpus * cpus_per_node > MAX_ID or with_cpus + recipe.memory_only > 4096:
        raise SourceMalformedError(spec, f"at most {MAX_ID} CPUs and 4096 nodes", rest)
    count = with_cpus + recipe.memory_only
    nodes = tuple(_node(i, count, per_package, with_cpus, cpus_per_node, recipe) for i in range(count))
    online = CpuSet(frozenset(range(with_cpus * cpus_per_node)))
    memory = tuple(
        NodeMemory(
            node_id=node.node_id,
            total_kib=node.memory_total_kib,
            free_kib=recipe.memory_kib - sum(pool.total_kib for pool in recipe.pools),
            reclaimable_kib=0,
            hugepages=recipe.pools,
            source=spec,
        )
        for node in nodes
    )
    return HostSnapshot(
        hostname="synthetic",
        sources=(spec,),
        taken_at=now,
        topology=_topology(nodes, online, per_package * cpus_per_node, cpus_per_node, recipe),
        memory=memory,
        usable_cpus=online,
    )


def _recipe(rest: str, spec: str) -> _Recipe:
    counts = dict.fromkeys(LEVELS, 1)
    memory_kib, memory_only, last = 1024**2, 0, -1
    distances: tuple[int, ...] = (10, 20)
    pools: list[HugepagePool] = []
    for word in rest.split():
        key, _, value = word.partition(":")
        try:
            if key in LEVELS:
                if LEVELS.index(key) <= last:
                    raise ValueError(f"levels in the order {' '.join(LEVELS)}")
                last, counts[key] = LEVELS.index(key), _positive(value)
            elif key == "memory":
                memory_kib = parse_size_kib(value)
            elif key == "memory-only":
                memory_only = _positive(value)
            elif key == "hugepages":
                size, _, total = value.partition("=")
                pages = _positive(total)
                pools.append(HugepagePool(size_kib=parse_size_kib(size), total=pages, free=pages))
            elif key == "distance":
                distances = tuple(_positive(number) for number in value.split(","))
            else:
                raise ValueError(f"one of {', '.join((*LEVELS, 'memory', 'memory-only', 'hugepages', 'distance'))}")
        except ValueError as error:
            raise SourceMalformedError(spec, str(error), word) from error
    ordered = tuple(sorted(pools, key=lambda pool: pool.size_kib))
    if sum(pool.total_kib for pool in ordered) > memory_kib:
        raise SourceMalformedError(spec, "huge pages that the node's memory holds", rest)
    return _Recipe(counts=counts, memory_kib=memory_kib, memory_only=memory_only, pools=ordered, distances=distances)


def _node(index: int, count: int, per_package: int, with_cpus: int, cpus: int, recipe: _Recipe) -> NumaNode:
    own = CpuSet(frozenset(range(index * cpus, (index + 1) * cpus))) if index < with_cpus else CpuSet()

    def distance(other: int) -> int:
        if other == index:
            step = 0
        elif max(index, other) < with_cpus and index // per_package == other // per_package:
            step = 1
        else:
            step = 2
        return recipe.distances[min(step, len(recipe.distances) - 1)]

    return NumaNode(
        node_id=NodeId(index),
        cpus=own,
        memory_total_kib=recipe.memory_kib,
        distances={NodeId(other): distance(other) for other in range(count)},
    )


def _topology(
    nodes: tuple[NumaNode, ...], online: CpuSet, per_package: int, per_node: int, recipe: _Recipe
) -> HostTopology:
    counts, pu = recipe.counts, recipe.counts["pu"]
    per_l3, per_die = counts["core"] * pu, per_package // counts["die"]

    def chunks(size: int) -> list[CpuSet]:
        return [CpuSet(frozenset(range(start, start + size))) for start in range(0, len(online), size)]

    return HostTopology(
        nodes=nodes,
        online_cpus=online,
        packages=tuple(Package(package_id=i, cpus=cpus) for i, cpus in enumerate(chunks(per_package))),
        dies=tuple(
            Die(die_id=i % counts["die"], package_id=i // counts["die"], cpus=cpus)
            for i, cpus in enumerate(chunks(per_die))
        ),
        l3=tuple(L3Domain(cpus=cpus, size_kib=None) for cpus in chunks(per_l3)),
        cores=tuple(
            Core(cpus=cpus, node_id=NodeId(min(cpus.ids) // per_node), package_id=min(cpus.ids) // per_package)
            for cpus in chunks(pu)
        ),
    )


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 8 and int(text)):
        raise ValueError("a whole number over 0")
    return int(text)
