"""Verdicts on real machines that OpenStack Nova's own predicates gave: ours are the same.

`exact_fits` of nova_oracle_sample.json: Nova's predicate for each guest cell and host cell, and a perfect matching.
Where Nova's limits promise more memory than there is, so much is free here. Nova's `large` is any page size of a node
but its smallest: such a guest fits here where one of them fits, asked for by itself. A cell that is not whole pages
fits none of Nova's nodes in such pages (`NUMACell.can_fit_pagesize`); ours is a request that contradicts itself.
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
from policies.request import CpuPolicy, GuestName, GuestRequest, GuestShare, HostName, RequestInvalidError
from probe.cpuset import CpuSet, NodeId
from probe.topology import Core, HostTopology, NumaNode

ANY, LARGE = -3, -2
PAGES = {None: 4, -1: 4, 4: 4, 2048: 2048, ANY: 4}
"""Nova's words for pages: none asked for, MEMPAGES_SMALL, by size, and any that there are, the largest first."""


def page_sizes(case: dict[str, Any]) -> list[int]:
    """The page sizes, each of which would do for the guest: for Nova's `large` those of its hosts but the smallest."""
    (asked,) = {cell["pagesize_kb"] for cell in case["instance"]["cells"]}
    if asked != LARGE:
        return [PAGES[asked]]
    larger = {size for cell in case["host"]["cells"] for size in sorted(p["size_kb"] for p in cell["mempages"])[1:]}
    assert len(larger) < 2, "Nova gives each cell a size of its own"
    return sorted(larger)


def requests_of(case: dict[str, Any]) -> Iterator[GuestRequest]:
    """One for each page size that would do; none for a size of which a cell's memory is not whole pages."""
    instance = case["instance"]
    assert instance["emulator_threads_policy"] is None
    assert not any(cell["cpuset_reserved"] for cell in instance["cells"])
    for page_kib in page_sizes(case):
        if all(cell["memory_mb"] * 1024 % page_kib == 0 for cell in instance["cells"]):
            yield request_of(case, page_kib)
        else:
            with pytest.raises(RequestInvalidError):
                request_of(case, page_kib)


def request_of(case: dict[str, Any], page_kib: int) -> GuestRequest:
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
        page_kib=page_kib,
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
        fleet = Fleet.of([host_of(case)])
        requests = [*requests_of(case)]
        assert any(fits_by_search(request, fleet) for request in requests) == case["exact_fits"], case["id"]
        online = [OnlineFleet(fleet).place_one(request) for request in requests]
        assert any(isinstance(decision, Placement) for decision in online) == case["exact_fits"], case["id"]
        counts["fits" if case["exact_fits"] else "does not fit"] += 1
    assert counts == {"fits": 105, "does not fit": 45}


def fits_by_search(request: GuestRequest, fleet: Fleet) -> bool:
    book, (host,) = fleet.open(), fleet.hosts
    return any(placed(request, book, host, way) is not None for way in all_ways(request, book, host))
