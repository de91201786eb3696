"""One guest at a time on a large fleet: how long a place takes, and how long OpenStack Nova's own code takes."""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.online.fleet import OnlineFleet
from policies.plan import Placement
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet, NodeId
from probe.errors import BadInputError
from probe.snapshot import Hypervisor
from probe.topology import HostTopology, NumaNode

GIB_KIB = 1 << 20
CPUS_OF_NODE, GIB_OF_NODE = 16, 64
MOST_MS, LEAST_RATIO = 5, 1000
"""A place takes no longer at the 99th percentile, and Nova so many times as long in the median."""
MOST_NOVA_S = 100
"""Nova is stopped then: its time is at least this, and the row says so."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Requests of one kind: cells, and vCPUs and GiB of each; guests are dedicated."""

    name: str
    sizes: tuple[tuple[int, int, int], ...]


KINDS = (
    Kind(name="one cell", sizes=((1, 1, 4), (1, 2, 8), (1, 4, 8), (1, 4, 16), (1, 8, 32), (1, 16, 64))),
    Kind(name="two cells", sizes=((2, 2, 8), (2, 4, 16), (2, 8, 32))),
    Kind(name="8 cells, 7 nodes hold one", sizes=((8, 16, 16),)),
)


def loads(hosts: int, nodes: int, *, hostile: bool, seed: int = 1) -> tuple[list[list[int]], list[list[int]]]:
    """Of each node: pCPUs that are taken, and GiB. 70 % on the average; hostile: 7 nodes of each host are empty."""
    rng = np.random.default_rng(seed)
    if hostile:
        taken = np.ones((hosts, nodes), dtype=np.int64)
        for row in taken:
            row[rng.permutation(nodes)[:7]] = 0
        return taken.tolist(), taken.tolist()
    share = rng.beta(2.8, 1.2, (hosts, nodes))
    memory = np.clip(share * rng.uniform(0.8, 1.2, share.shape), 0, 1)
    return np.rint(share * CPUS_OF_NODE).astype(int).tolist(), np.rint(memory * GIB_OF_NODE).astype(int).tolist()


def fleet_of(cpus_taken: Sequence[Sequence[int]], gib_taken: Sequence[Sequence[int]]) -> Fleet:
    """Hosts of equal nodes, all pCPUs for dedicated guests; near nodes are two and two."""
    nodes = len(cpus_taken[0])
    ids = [NodeId(node) for node in range(nodes)]
    own = [CpuSet.of(*range(CPUS_OF_NODE * node, CPUS_OF_NODE * (node + 1))) for node in range(nodes)]
    far = [{other: 10 if other == node else 12 if other // 2 == node // 2 else 32 for other in ids} for node in ids]
    topology = HostTopology(
        nodes=tuple(
            NumaNode(node_id=i, cpus=own[i], memory_total_kib=GIB_OF_NODE * GIB_KIB, distances=far[i]) for i in ids
        ),
        online_cpus=CpuSet.union(own),
    )
    left = [[CpuSet(frozenset(sorted(cpus.ids)[n:])) for n in range(CPUS_OF_NODE + 1)] for cpus in own]
    return Fleet.of(
        [
            HostCapacity(
                name=HostName(f"h{number}"),
                topology=topology,
                nodes=tuple(
                    NodeCapacity(
                        node_id=i,
                        free_cpus=left[i][cpus[i]],
                        shared_cpus=CpuSet(),
                        shared_vcpus=0,
                        memory_kib={4: (GIB_OF_NODE - gib[i]) * GIB_KIB},
                    )
                    for i in ids
                ),
                overcommit=Fraction(1),
                hypervisor=Hypervisor.KVM,
            )
            for number, (cpus, gib) in enumerate(zip(cpus_taken, gib_taken, strict=True))
        ]
    )


def requests_of(kind: Kind, count: int, seed: int = 2) -> Iterator[GuestRequest]:
    """Guests of the kind, in a random order."""
    rng = np.random.default_rng(seed)
    for number, size in enumerate(rng.integers(len(kind.sizes), size=count).tolist()):
        cells, vcpus, gib = kind.sizes[size]
        yield GuestRequest(
            name=GuestName(f"g{number}"),
            vcpus=cells * vcpus,
            memory_kib=cells * gib * GIB_KIB,
            cells=cells,
            cpus=CpuPolicy.DEDICATED,
        )


def measure_online(kind: Kind, hosts: int, guests: int, *, nova: Path | None, most_nova_hosts: int) -> Row:
    """Of one kind: milliseconds of `place_one`, and of Nova over all hosts where there is a Python with Nova.

    Half of the guests that found a place leave again at once, and before each request of the hostile kind a small guest
    comes and goes outside the clock: so hosts keep changing, and every refusal is worked out anew.

    Args:
        nova: a Python interpreter whose environment has the package `nova`.
        most_nova_hosts: as many hosts are given to Nova, and one in the hostile case, on which it tries permutations
            for minutes; where these are fewer than all, its time is scaled up (it looks at one host after the other).

    Raises:
        BadInputError: that interpreter cannot run Nova.
    """
    row = _ours(kind, hosts, guests)
    if nova is not None:
        row = {**row, **_novas(nova, kind, hosts, 1 if _is_hostile(kind) else most_nova_hosts, row["median_ms"])}
    return {**row, "missed": _missed(row)}


def _is_hostile(kind: Kind) -> bool:
    return kind is KINDS[-1]


def _load(kind: Kind, hosts: int) -> tuple[list[list[int]], list[list[int]]]:
    return loads(hosts, 16 if _is_hostile(kind) else 8, hostile=_is_hostile(kind))


def _ours(kind: Kind, hosts: int, guests: int) -> Row:
    began = time.perf_counter()
    online = OnlineFleet(fleet_of(*_load(kind, hosts)))
    prepared_s = time.perf_counter() - began
    took_ms: dict[GuestRequest, list[float]] = defaultdict(list)
    placed = 0
    for number, request in enumerate(requests_of(kind, guests)):
        if _is_hostile(kind):
            _come_and_go(online)
        began = time.perf_counter()
        decision = online.place_one(request)
        took_ms[replace(request, name=GuestName("alike"))].append((time.perf_counter() - began) * 1000)
        if isinstance(decision, Placement):
            placed += 1
            if number % 2:
                online.give_back(decision)
    every = [ms for of_class in took_ms.values() for ms in of_class]
    return {
        "case": kind.name,
        "hosts": hosts,
        "guests": guests,
        "placed": placed,
        "prepared_s": prepared_s,
        "median_ms": float(np.median(every)),
        "p99_ms": float(np.percentile(every, 99)),
        "first_of_class_ms": max(of_class[0] for of_class in took_ms.values()),
        "nova_hosts": None,
        "nova_median_ms": None,
        "nova_stopped": False,
        "ratio": None,
    }


def _come_and_go(online: OnlineFleet) -> None:
    small = GuestRequest(name=GuestName("small"), vcpus=1, memory_kib=GIB_KIB, cpus=CpuPolicy.DEDICATED)
    placement = online.place_one(small)
    if isinstance(placement, Placement):
        online.give_back(placement)


def _novas(nova: Path, kind: Kind, hosts: int, most_hosts: int, ours_ms: float) -> Row:
    some = min(hosts, most_hosts)
    found_ms = _nova_ms(nova, kind, [part[:some] for part in _load(kind, hosts)])
    nova_ms = (MOST_NOVA_S * 1000 if found_ms is None else found_ms) * hosts / some
    return {
        "nova_hosts": some,
        "nova_median_ms": nova_ms,
        "nova_stopped": found_ms is None,
        "ratio": nova_ms / ours_ms,
    }


def _missed(row: Row) -> list[str]:
    """What the row must reach and did not."""
    slow = [f"p99 over {MOST_MS} ms"] if row["p99_ms"] > MOST_MS else []
    near = [f"less than {LEAST_RATIO} times as fast"] if row["ratio"] is not None and row["ratio"] < LEAST_RATIO else []
    return slow + near


def _nova_ms(nova: Path, kind: Kind, load: Sequence[Sequence[Sequence[int]]]) -> float | None:
    """The median of one request over all hosts given, as Nova's own function takes it; None: stopped."""
    asked = {"cpus": CPUS_OF_NODE, "gib": GIB_OF_NODE, "load": load, "sizes": kind.sizes}
    script = Path(__file__).with_name("nova_side.py")
    try:
        ended = subprocess.run(
            [nova, script], input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=MOST_NOVA_S
        )
    except subprocess.TimeoutExpired:
        return None
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise BadInputError(f"{nova}: cannot run Nova: {last}", advice="Maybe `make nova` was not run.")
    return float(json.loads(ended.stdout)["median_ms"])
