"""The parts of the measured locality: figures of a guest, filling, what hypervisors are told, and who is waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from benchmarks.locality.figures import GuestSeen, guest_seen, metrics_of
from benchmarks.locality.fill import IDLE, Fill
from benchmarks.locality.looking import Running, pages_are_seen, settled
from benchmarks.locality.ways import AUTO, DEFAULT, hypervisors_ways, left_to_numad, loose_placement, told_by
from policies.plan import Placement
from policies.request import GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet, NodeId
from probe.errors import BadInputError
from probe.snapshot import OccupantState
from probe.sources.registry import read_source
from probe.sources.shell import CUT
from scheduler.definitions.render import definition_of
from scheduler.executors.port import CellMemory, DefinitionKind, DomainFound, Observation
from scheduler.files.hosts_file import HostEntry, host_config
from scheduler.observers.xen_host import parse_observations

TOPOLOGY = read_source("synthetic:node:4 core:2").topology
MIB = 1024


def request(**more: Any) -> GuestRequest:
    return GuestRequest(**{"name": GuestName("g"), "vcpus": 2, "memory_kib": 512 * MIB, **more})


def seen(vcpus: Mapping[int, str], *cells: Mapping[int, int], **more: Any) -> Observation:
    total: dict[int, int] = {}
    for cell in cells:
        for node, kib in cell.items():
            total[node] = total.get(node, 0) + kib
    return Observation(
        vcpu_cpus={vcpu: CpuSet.parse(text) for vcpu, text in vcpus.items()},
        emulator_cpus=None,
        memory_nodes_allowed=None,
        resident_kib=total,
        how="made up",
        cells=tuple(CellMemory(nodes_allowed=frozenset(cell), resident_kib=cell) for cell in cells),
        **more,
    )


WHOLE, TWO = (loose_placement(request(cells=cells), HostName("h")) for cells in (1, 2))


@pytest.mark.parametrize(
    ("placement", "observation", "local", "distance", "nodes"),
    [
        (WHOLE, seen({0: "0-1", 1: "0-1"}, {0: 512 * MIB}), 1.0, 10, (0,)),
        (WHOLE, seen({0: "0-1", 1: "0-1"}, {1: 512 * MIB}), 0.0, 20, (0,)),
        (WHOLE, seen({0: "0-7", 1: "0-7"}, {2: 512 * MIB}), 0.25, 17.5, (0, 1, 2, 3)),
        (WHOLE, seen({0: "0", 1: "2"}, {0: 256 * MIB, 1: 256 * MIB}), 0.5, 15, (0, 1)),
        (TWO, seen({0: "0", 1: "2"}, {0: 256 * MIB}, {1: 256 * MIB}), 1.0, 10, (0, 1)),
        (TWO, seen({0: "0", 1: "2"}, {1: 256 * MIB}, {0: 256 * MIB}), 0.0, 20, (0, 1)),
    ],
)
def test_each_vcpu_counts_with_the_memory_of_its_cell(
    placement: Placement, observation: Observation, local: float, distance: float, nodes: tuple[int, ...]
) -> None:
    found = guest_seen(placement, observation, TOPOLOGY)
    assert (local, distance, nodes, 1.0) == (
        found.local_ratio,
        found.distance,
        found.cpu_nodes,
        found.resident_ratio,
    )


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True),
    st.dictionaries(st.integers(0, 3), st.integers(1, 2**20), min_size=1),
)
def test_a_share_is_a_share(cpus: list[int], kib: dict[int, int]) -> None:
    """Between nothing and all, all exactly when every byte is on the one node of every pCPU."""
    text = str(CpuSet.of(*cpus))
    found = guest_seen(WHOLE, seen({0: text, 1: text}, kib), TOPOLOGY)
    assert found.local_ratio is not None
    assert 0 <= found.local_ratio <= 1
    nodes = {cpu // 2 for cpu in cpus}
    assert (found.local_ratio == 1) == (len(nodes) == 1 and nodes == set(kib))
    assert 10 <= cast("float", found.distance) <= 20


def test_nothing_resident_is_not_known() -> None:
    found = guest_seen(WHOLE, seen({0: "0", 1: "0"}, {}), TOPOLOGY)
    assert (None, False) == (found.local_ratio, found.runs)
    assert {"placed": 0, "refused": 1} == metrics_of([found])


def test_large_guests_count_more() -> None:
    """Bytes over bytes, not the mean of the guests."""
    guests = [
        GuestSeen(guest="a", host="h", local_ratio=1.0, resident_ratio=1.0, distance=10.0, memory_kib={0: 3000}),
        GuestSeen(guest="b", host="h", local_ratio=0.0, resident_ratio=0.5, distance=20.0, memory_kib={1: 1000}),
    ]
    metrics = metrics_of(guests)
    assert (0.75, 0.0, 1, 0.75) == (
        metrics["local_ratio"],
        metrics["least_local_ratio"],
        metrics["wholly_local"],
        metrics["resident_ratio"],
    )


def test_soft_affinity_speaks_for_libxl() -> None:
    """It chose a node and lets its vCPUs run elsewhere when that is busy: what it chose counts, to its credit."""
    output = "\n".join(
        [
            "(XEN) 'u' pressed -> dumping numa info (now = 1)",
            "(XEN) NODE0 start->0 size->1 free->1",
            "(XEN) NODE1 start->0 size->1 free->1",
            "(XEN) Memory location of each domain:",
            "(XEN) Domain 3 (total: 131072):",
            "(XEN)     Node 0: 0",
            "(XEN)     Node 1: 131072",
        ]
    )
    lists = (
        "Name ID Mem VCPUs State Time(s) UUID Cpupool\n"
        "g 3 512 2 -b---- 0.0 00000000-0000-4000-8000-000000000001 Pool-0\n",
        "Name ID VCPU CPU State Time(s) Affinity (Hard / Soft)\ng 3 0 2 -b- 0.0 all / 2-3\ng 3 1 3 -b- 0.0 all / 2-3\n",
        "Name CPU list\nPool-0 0,1,2,3,4,5,6,7\n",
    )
    (found,) = parse_observations(f"{CUT}\n".join([output + "\n", *lists]), origin="here").values()
    assert {0: CpuSet.parse("2-3"), 1: CpuSet.parse("2-3")} == dict(found.soft_cpus)
    assert CpuSet.parse("0-7") == found.vcpu_cpus[0]
    assert 1.0 == guest_seen(WHOLE, found, TOPOLOGY).local_ratio
    assert 0.25 == guest_seen(WHOLE, replace(found, soft_cpus={}), TOPOLOGY).local_ratio


def test_fill_reads_what_it_writes() -> None:
    fill = Fill.parse("0=500MiB,h1:0=1GiB,h2:3=600MiB")
    assert fill == Fill.parse(str(fill))
    assert ({0: 1024 * MIB}, {0: 500 * MIB, 3: 600 * MIB}) == (fill.of_host("h1"), fill.of_host("h2"))
    assert ("idle", "locality idle") == (str(Fill.parse(IDLE)), Fill.parse(IDLE).scenario)


KVM_TEXT = definition_of(TWO, DefinitionKind.KVM_XML).text


def test_what_libvirt_is_told() -> None:
    """By default nothing; for numad both, CPUs and memory; the cells stay, and Xen is never told."""
    assert KVM_TEXT == told_by(DEFAULT, DefinitionKind.KVM_XML, KVM_TEXT)
    assert "numatune" not in KVM_TEXT
    assert "cpuset" not in KVM_TEXT
    assert 2 == KVM_TEXT.count("<cell ")
    auto = told_by(AUTO, DefinitionKind.KVM_XML, KVM_TEXT)
    assert '<vcpu placement="auto">2</vcpu>' in auto
    assert '<numatune><memory mode="strict" placement="auto"/></numatune>' in auto
    assert 2 == auto.count("<cell ")
    assert "x" == told_by(AUTO, DefinitionKind.XEN_XML, "x")
    with pytest.raises(BadInputError):
        left_to_numad(auto)


def _host(*sources: str, **more: Any) -> Any:
    return host_config("h", HostEntry(sources=list(sources), **more), folder=Path())


def test_which_ways_hosts_have() -> None:
    kvm, xen, sim = _host("qemu:///system"), _host("xl:"), _host("sim:x.sim")
    assert (DEFAULT, AUTO) == hypervisors_ways({"h": DefinitionKind.KVM_XML}, [kvm])
    assert (AUTO,) == hypervisors_ways({"h": DefinitionKind.XL_CFG}, [xen])
    assert (DEFAULT,) == hypervisors_ways({"h": DefinitionKind.KVM_XML}, [sim])


@pytest.mark.parametrize(
    ("sources", "kind", "seen"),
    [
        (["qemu:///system"], DefinitionKind.KVM_XML, True),
        (["qemu+ssh://root@h/system"], DefinitionKind.KVM_XML, False),
        (["qemu+ssh://root@h/system", "sysfs+ssh://root@h"], DefinitionKind.KVM_XML, True),
        (["xen:///system"], DefinitionKind.XEN_XML, False),
        (["xen:///system", "xl:"], DefinitionKind.XEN_XML, True),
        (["xl+ssh://root@h"], DefinitionKind.XL_CFG, True),
        (["sim:x.sim"], DefinitionKind.KVM_XML, True),
    ],
)
def test_a_host_where_nobody_counts_pages_is_refused(sources: list[str], kind: DefinitionKind, *, seen: bool) -> None:
    if seen:
        pages_are_seen(_host(*sources), kind)
        return
    with pytest.raises(BadInputError, match="pages are"):
        pages_are_seen(_host(*sources), kind)


class _Growing:
    """An executor whose one guest touches more of its memory from look to look."""

    kind = DefinitionKind.KVM_XML

    def __init__(self, *mib: int | None) -> None:
        self.mib = list(mib)

    def list_domains(self) -> list[DomainFound]:
        state = OccupantState.SHUTOFF if self.mib[0] is None else OccupantState.RUNNING
        return [DomainFound(guest="g", uuid="u", state=state)]

    def observe_all(self, uuids: list[str], *, memory: bool = True) -> dict[str, Observation]:
        now = self.mib.pop(0) if len(self.mib) > 1 else self.mib[0]
        return {"u": seen({0: "0", 1: "0"}, {NodeId(0): (now or 0) * MIB})}


def _settled(*mib: int | None, patience_s: float = 100) -> tuple[float | None, bool]:
    """MiB of the last look, and whether that was in time; each look takes a second."""
    site = cast("Any", SimpleNamespace(executor=_Growing(*mib)))
    clock = iter(range(1000))
    looks, in_time = settled(
        [_host("sim:x.sim")],
        {"h": site},
        [Running(uuid="u", placement=WHOLE)],
        patience_s=patience_s,
        sleep=lambda _: None,
        clock=lambda: next(clock),
    )
    return (sum((looks["u"].resident_kib or {}).values()) / MIB if looks else None), in_time


def test_guests_are_waited_for_until_they_touched_their_memory() -> None:
    """Eighty percent, and no more from one look to the next; one that ended is not waited for."""
    assert (500, True) == _settled(20, 20, 300, 450, 500, 500, 512)
    assert (20, False) == _settled(20, patience_s=5)
    assert (None, True) == _settled(None)
