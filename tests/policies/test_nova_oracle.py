"""Verdicts on real machines that OpenStack Nova's own predicates gave: ours are the same.

`exact_fits` of nova_oracle_sample.json: Nova's predicate for each guest cell and host cell, and a perfect matching.
Left out are cases that ask for what a request of ours cannot say, each counted: large pages of any size, and half a
page. Where Nova's limits promise more memory than there is, so much is free here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from policies.asked import SmtPolicy
from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.online.fleet import OnlineFleet
from policies.places import all_ways, placed
from policies.plan import Placement
from policies.request import CpuPolicy, GuestName, GuestRequest, GuestShare, HostName
from probe.cpuset import CpuSet, NodeId
from probe.topology import Core, HostTopology, NumaNode

ANY = -3
PAGES = {None: 4, -1: 4, 4: 4, 2048: 2048, ANY: 4}
"""Nova's words for pages: none asked for, MEMPAGES_SMALL, by size, and any that there are, the largest first."""


def unsaid(case: dict[str, Any]) -> str:
    """What of a case our request has no word for; "" for nothing."""
    cells = case["instance"]["cells"]
    if case["instance"]["emulator_threads_policy"] is not None or any(cell["cpuset_reserved"] for cell in cells):
        return "emulator"
    if any(cell["pagesize_kb"] not in PAGES for cell in cells):
        return "pages"
    if any(cell["pagesize_kb"] == 2048 and cell["memory_mb"] % 2 for cell in cells):
        return "half a page"
    return ""


def request_of(case: dict[str, Any]) -> GuestRequest:
    cells = [(len(c["cpuset"]) + len(c["pcpuset"]), c["memory_mb"] * 1024) for c in case["instance"]["cells"]]
    policy = CpuPolicy(case["instance"]["cells"][0]["cpu_policy"])
    sizes = tuple(GuestShare(vcpus=vcpus, memory_kib=kib) for vcpus, kib in cells)
    return GuestRequest(
        name=GuestName("g"),
        vcpus=sum(vcpus for vcpus, _ in cells),
        memory_kib=sum(kib for _, kib in cells),
        cells=len(cells),
        cell_sizes=sizes if len(sizes) > 1 else (),
        cpus=policy,
        dedicated_vcpus=CpuSet.of(*_own(case)) if policy is CpuPolicy.MIXED else CpuSet(),
        page_kib=PAGES[case["instance"]["cells"][0]["pagesize_kb"]],
        largest_pages=case["instance"]["cells"][0]["pagesize_kb"] == ANY,
        smt=SmtPolicy(case["instance"]["cells"][0]["cpu_thread_policy"] or "prefer"),
    )


def _own(case: dict[str, Any]) -> Iterator[int]:
    """The vCPUs with a pCPU each, numbered cell by cell: ours have no other numbers."""
    ordered = [(vcpu, cell) for cell in case["instance"]["cells"] for vcpu in sorted(cell["cpuset"] + cell["pcpuset"])]
    return (number for number, (vcpu, cell) in enumerate(ordered) if vcpu in cell["pcpuset"])


def memory_kib(cell: dict[str, Any], case: dict[str, Any], page_kib: int) -> int:
    """What Nova would still give of a host cell: the free pages where it counts pages, and what limits leave.

    Without limits shared vCPUs may have all memory of the node, and dedicated ones what is left of it.
    """
    first = case["instance"]["cells"][0]
    dedicated = first["cpu_policy"] != "shared"
    counts = case["limits"] or dedicated
    ratio = Fraction((case["limits"] or {}).get("ram_allocation_ratio", 1.0))
    left = int(cell["memory_mb"] * ratio - (cell["memory_usage_mb"] if counts else 0)) * 1024
    left = min(left, cell["memory_mb"] * 1024)
    pools = [pool for pool in cell["mempages"] if pool["size_kb"] == page_kib]
    pages = [int(pool["total"] - pool["used"] - pool["reserved"]) * page_kib for pool in pools]
    if page_kib > 4 or first["pagesize_kb"] is not None:
        return sum(pages)
    return min(left, *pages) if dedicated and pages else left


def host_of(case: dict[str, Any]) -> HostCapacity:
    """Nova's host; without limits any number of vCPUs may float on a node.

    Nova counts each cell by itself, also where memory nodes without pCPUs have those of another cell: here each
    has its own.
    """
    cells = case["host"]["cells"]
    limits = case["limits"] or {"cpu_allocation_ratio": 1000.0}
    nodes: list[NumaNode] = []
    left: list[NodeCapacity] = []
    cores: list[Core] = []
    for number, cell in enumerate(cells):
        shared, own, pinned = (_moved(cell[key], number) for key in ("cpuset", "pcpuset", "pinned_cpus"))
        node_id = NodeId(cell["id"])
        nodes.append(NumaNode(node_id=node_id, cpus=shared | own, memory_total_kib=cell["memory_mb"] * 1024))
        left.append(
            NodeCapacity(
                node_id=node_id,
                free_cpus=own - pinned,
                shared_cpus=shared,
                shared_vcpus=cell["cpu_usage"],
                memory_kib={page: memory_kib(cell, case, page) for page in (4, 2048)},
            )
        )
        siblings = cell["siblings"] or [[cpu] for cpu in cell["pcpuset"]]
        cores += [Core(cpus=_moved(some, number), node_id=node_id, package_id=None) for some in siblings]
    online = CpuSet.union(node.cpus for node in nodes)
    return HostCapacity(
        name=HostName("h"),
        topology=HostTopology(nodes=tuple(nodes), online_cpus=online, cores=tuple(cores)),
        nodes=tuple(left),
        overcommit=Fraction(limits["cpu_allocation_ratio"]),
    )


def _moved(cpus: Iterable[int], cell: int) -> CpuSet:
    return CpuSet.of(*(10_000 * cell + cpu for cpu in cpus))


@pytest.mark.data
def test_the_verdicts_are_those_of_an_exact_nova(data: Path) -> None:
    """By the search that all our policies share, and by the arrays of arriving guests."""
    cases = json.loads((data / "nova_oracle_sample.json").read_text(encoding="utf-8"))["cases"]
    counts = Counter[str]()
    for case in cases:
        if reason := unsaid(case):
            counts[reason] += 1
            continue
        request, host = request_of(case), host_of(case)
        fleet = Fleet.of([host])
        book = fleet.open()
        found = any(placed(request, book, host, way) is not None for way in all_ways(request, book, host))
        assert found == case["exact_fits"], case["id"]
        assert isinstance(OnlineFleet(fleet).place_one(request), Placement) == case["exact_fits"], case["id"]
        counts["fits" if found else "does not fit"] += 1
    assert counts == {"fits": 103, "does not fit": 41, "pages": 5, "half a page": 1}
