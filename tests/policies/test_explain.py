"""Rejections: the reason, the amounts and places, and a change that was really tried."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.capacity import HostCapacity
from policies.fleet import Fleet
from policies.greedy import first_fit
from policies.plan import Placement, Reason, Rejection
from policies.policy import Effort, Policy
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from policies.solver.solve import solver
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor
from probe.units import parse_size_kib
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.tight import tight_batches

EFFORT = Effort(time_limit_s=None, deterministic_limit=5.0)
OWN = CpuPolicy.DEDICATED


def ask(vcpus: int, gib: int = 1, **more: object) -> GuestRequest:
    base = GuestRequest(name=GuestName("g"), vcpus=vcpus, memory_kib=gib * GIB_KIB)
    return replace(base, **more)  # type: ignore[arg-type]


def with_memory(host: HostCapacity, *gib: int, page: int = 4) -> HostCapacity:
    """The host with so much left on each of its nodes."""
    nodes = zip(host.nodes, gib, strict=True)
    return replace(host, nodes=tuple(replace(n, memory_kib={**n.memory_kib, page: g * GIB_KIB}) for n, g in nodes))


def refused(request: GuestRequest, *hosts: HostCapacity, policy: Policy = first_fit) -> Rejection:
    (decision,) = policy([request], Fleet.of(hosts), EFFORT).decisions
    assert isinstance(decision, Rejection)
    return decision


HOST = host_of("h1", cpus=4, nodes=2, memory_gib=8)
PAGES = host_of("h1", nodes=2, memory_gib=8, pages_gib={2048: 2})
XEN = host_of("x1", hypervisor=Hypervisor.XEN)
APART = host_of("h1", topology=topology_of(nodes=2, distances={0: {0: 10, 1: 255}, 1: {0: 255, 1: 10}}))

CASES = {
    "memory": (ask(2, 11), (HOST,), Reason.MEMORY, "node 0 of h1 lacks 3GiB", "max_nodes: 2"),
    "nearest host": (ask(2, 9), (HOST, host_of("h2", nodes=1, memory_gib=7)), Reason.MEMORY, "h1 lacks 1GiB", ""),
    "free memory in two halves": (
        ask(2, 8, cells=2),
        (with_memory(HOST, 6, 2),),
        Reason.MEMORY,
        "node 1 of h1 lacks 2GiB",
        "memory: 4097MiB",
    ),
    "more than the host": (ask(1, 40, max_nodes=1), (HOST,), Reason.MEMORY, "node 0 of h1 lacks 32GiB", "memory: 8GiB"),
    "huge pages": (
        ask(1, 3, page_kib=2048),
        (PAGES,),
        Reason.HUGEPAGES,
        "node 0 of h1 lacks 1GiB in 2MiB pages",
        "page_size: 4KiB",
    ),
    "overhead of a huge-page guest": (
        ask(1, 2, page_kib=2048, overhead_kib=4096),
        (with_memory(PAGES, 0, 0),),
        Reason.MEMORY,
        "node 0 of h1 lacks 4MiB",
        "",
    ),
    "shared pCPUs": (ask(6), (HOST,), Reason.PCPUS, "node 0 of h1 lacks 2 shared pCPUs", "max_nodes: 2"),
    "one pCPU": (ask(5), (HOST,), Reason.PCPUS, "lacks 1 shared pCPU", "max_nodes: 2"),
    "own pCPUs": (
        ask(3, cpus=OWN),
        (replace(HOST, nodes=tuple(replace(n, free_cpus=CpuSet.of(min(n.free_cpus))) for n in HOST.nodes)),),
        Reason.PCPUS,
        "node 0 of h1 lacks 2 free pCPUs",
        "cpus: shared",
    ),
    "both": (ask(9, 99), (HOST,), Reason.MEMORY, "lacks 5 shared pCPUs and 91GiB", "vcpus: 4, memory: 8GiB"),
    "too many cells": (
        ask(4, cells=3),
        (HOST,),
        Reason.PCPUS,
        "it has 3 cells, and no host more than 2 nodes with pCPUs and memory",
        "cells: auto",
    ),
    "no path": (
        ask(4, cells=2),
        (APART,),
        Reason.PCPUS,
        "no nodes of h1 that reach each other hold all of its parts together",
        "cells: auto",
    ),
    "unknown host": (
        ask(1, hosts=frozenset({HostName("h9")})),
        (HOST,),
        Reason.HOST,
        "none of its hosts is there: h9",
        "hosts: any",
    ),
    "cordoned": (ask(1), (replace(HOST, schedulable=False),), Reason.HOST, "h1 takes no new guests", ""),
    "cells on Xen": (ask(2, cells=2), (XEN,), Reason.UNSUPPORTED, "x1 is Xen, where guest NUMA cells", "cells: auto"),
    "huge pages on Xen": (
        ask(1, page_kib=2048),
        (XEN,),
        Reason.UNSUPPORTED,
        "x1 is Xen, which has no huge-page pools",
        "page_size: 4KiB",
    ),
}


@pytest.mark.parametrize("policy", [first_fit, solver], ids=["first-fit", "solver"])
@pytest.mark.parametrize("case", CASES)
def test_a_guest_that_fits_nowhere_is_told_what_lacks_and_where(case: str, policy: Policy):
    """Closed reason, amounts and places, and the smallest change that helps."""
    request, hosts, reason, detail, fits_if = CASES[case]
    rejection = refused(request, *hosts, policy=policy)
    assert reason is rejection.reason
    assert detail in rejection.detail
    assert not fits_if or fits_if == rejection.fits_if


def test_no_hosts_is_a_reason():
    """And there is no change that would help."""
    rejection = refused(ask(1))
    assert (Reason.HOST, "there are no hosts", "") == (rejection.reason, rejection.detail, rejection.fits_if)


def test_fewer_vcpus_is_the_last_change():
    """When no other helps: the most that fit."""
    rejection = refused(ask(20, 1, max_nodes=8), HOST)
    assert rejection.fits_if == "vcpus: 8"


def test_less_for_a_guest_of_several_cells_leaves_something_in_each():
    """The search for the most that fits begins where each cell has a vCPU and memory."""
    cells: dict[str, object] = {"cells": 2, "cpus": OWN}
    assert refused(ask(20, 64, **cells), HOST).fits_if == "vcpus: 8, memory: 16GiB"
    small = with_memory(host_of("h1", cpus=3, nodes=2), 8, 8)
    assert refused(ask(8, 40, **cells), small).fits_if == "vcpus: 6, memory: 16GiB"
    stacked = ask(12, cells=8, stack_cells=True, cpus=OWN)
    assert refused(stacked, host_of("h1", cpus=5, nodes=2)).fits_if == "vcpus: 9"


def test_fewer_vcpus_of_a_mixed_guest_are_those_that_own_their_pcpus_and_one_that_floats():
    """At least: six of nine find a place here, and no fewer may be asked for."""
    mixed = ask(9, cpus=CpuPolicy.MIXED, dedicated_vcpus=CpuSet.parse("0-4"))
    assert refused(mixed, host_of("h1", cpus=6, nodes=1)).fits_if == "vcpus: 6"


def test_a_guest_that_lost_to_its_batch_is_told_so():
    """It fits alone; the change is one that fits beside the guests that are placed."""
    fleet = Fleet.of([host_of("h1", cpus=4, nodes=1, memory_gib=8)])
    first, second = ask(2, 6), replace(ask(2, 6), name=GuestName("late"))
    for policy in (first_fit, solver):
        _, lost = policy([first, second], fleet, EFFORT).decisions
        assert isinstance(lost, Rejection)
        assert lost.reason is Reason.CONTENTION
        assert lost.detail.startswith("fits h1 alone, but ")
        assert lost.fits_if == "memory: 2GiB"


def test_identical_guests_are_explained_alike():
    """Each rejection has its own guest's name."""
    batch = [replace(ask(9, 99), name=GuestName(f"g{i}")) for i in range(3)]
    decisions = first_fit(batch, Fleet.of([HOST]), EFFORT).decisions
    assert ["g0", "g1", "g2"] == [d.guest for d in decisions]
    assert len({replace(d, guest=GuestName("g")) for d in decisions if isinstance(d, Rejection)}) == 1


def changed(request: GuestRequest, fits_if: str) -> GuestRequest:
    """The request with the changes that a rejection suggests, read from its text."""
    for change in fits_if.split(", "):
        request = _changed(request, *change.split(": "))
    return request


def _changed(request: GuestRequest, key: str, value: str) -> GuestRequest:
    changes: dict[str, dict[str, object]] = {
        "hosts": {"hosts": None},
        "max_nodes": {"max_nodes": int(value) if value.isdecimal() else None},
        "cells": {"cells": "auto", "max_nodes": None, "cell_sizes": (), "stack_cells": False},
        "cpus": {"cpus": CpuPolicy.SHARED, "dedicated_vcpus": CpuSet()},
        "devices": {"devices": tuple(d for d in request.devices if f"without {d.address}" != value)},
        "smt": {"smt": SmtPolicy.PREFER},
        "emulator": {"emulator": EmulatorPolicy.AUTO},
        "groups": {"groups": tuple(m for m in request.groups if f"without {m.group.name}" != value)},
        "far_memory": {"far_memory": True},
        "page_size": {"page_kib": parse_size_kib(value) if key == "page_size" else 4},
        "memory": {"memory_kib": parse_size_kib(value) if key == "memory" else 1},
        "vcpus": {"vcpus": int(value) if value.isdecimal() else 1},
    }
    return replace(request, **changes[key])  # type: ignore[arg-type]


@given(batch=tight_batches())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_suggested_change_makes_the_guest_fit(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """Taken from the printed text and tried: the first guest of a batch that fits nowhere."""
    (request, *_), fleet = batch
    (decision,) = first_fit([request], fleet, EFFORT).decisions
    if isinstance(decision, Rejection) and decision.fits_if:
        (mended,) = first_fit([changed(request, decision.fits_if)], fleet, EFFORT).decisions
        assert isinstance(mended, Placement)


@given(batch=tight_batches())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_contention_is_said_exactly_of_guests_that_fit_alone(batch: tuple[tuple[GuestRequest, ...], Fleet]):
    """Any other reason means: not even on the empty fleet; or that others of an all-or-nothing group have no place."""
    requests, fleet = batch
    for request, decision in zip(requests, first_fit(requests, fleet, EFFORT).decisions, strict=True):
        (alone,) = first_fit([request], fleet, EFFORT).decisions
        if isinstance(decision, Rejection):
            as_a_group = decision.reason is Reason.GROUP and "all or nothing" in decision.detail
            assert (decision.reason is Reason.CONTENTION or as_a_group) == isinstance(alone, Placement)
