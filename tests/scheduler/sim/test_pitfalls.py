"""Each bad form of design.md's table shows the wrong node, each good form the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from probe.snapshot import Hypervisor, OccupantState
from probe.sources.registry import read_source
from scheduler.sim.errors import SimError
from scheduler.sim.hypervisor import SimHypervisor
from tests.scheduler.sim.hosts import (
    MIB,
    domain_xml,
    make,
    numatune,
    pages_of,
    pages_when_full,
    pins,
    started,
    xl_cfg,
)

CPUSET = "<vcpu cpuset='6-7'>2</vcpu>"


@pytest.fixture
def kvm(tmp_path: Path) -> SimHypervisor:
    return make(tmp_path / "kvm.sim", Hypervisor.KVM)


@pytest.fixture
def xen(tmp_path: Path) -> SimHypervisor:
    return make(tmp_path / "xen.sim", Hypervisor.XEN)


# -- KVM through libvirt -------------------------------------------------------------------------------


def test_kvm_pins_alone_come_after_the_process_has_started(kvm: SimHypervisor) -> None:
    """`vcpupin` without `<vcpu cpuset>` or `<numatune>`: on node 3 run the threads, on 0 lies the memory."""
    assert pages_when_full(kvm, domain_xml(inner=pins("6-7", "6-7"))) == {0: 256}
    (guest,) = read_source(f"sim:{kvm.path}").occupants
    assert str(guest.effective_cpus) == "6-7"
    assert guest.memory[0].node_id is None


@pytest.mark.parametrize(
    "inner",
    [
        CPUSET,
        CPUSET + pins("6", "7"),
        numatune("strict", "3"),
        numatune("restrictive", "3"),
        numatune("preferred", "3"),
    ],
)
def test_kvm_good_forms_lie_on_their_node(kvm: SimHypervisor, inner: str) -> None:
    """A cpuset from the start, or a memory policy."""
    assert pages_when_full(kvm, domain_xml(inner=inner)) == {3: 256}


def test_kvm_cells_lie_each_on_its_own_node(kvm: SimHypervisor) -> None:
    """`<memnode>` for each guest cell."""
    sizes = "".join(f"<cell id='{i}' cpus='{i}' memory='{mib}' unit='MiB'/>" for i, mib in enumerate((192, 64)))
    cells = f"<cpu><numa>{sizes}</numa></cpu>"
    tune = (
        "<numatune><memory mode='strict' nodeset='1-2'/><memnode cellid='0' mode='strict' nodeset='2'/>"
        "<memnode cellid='1' mode='strict' nodeset='1'/></numatune>"
    )
    assert pages_when_full(kvm, domain_xml(inner=cells + tune)) == {2: 192, 1: 64}


@pytest.mark.parametrize("mode", ["strict", "restrictive"])
def test_kvm_strict_starts_well_and_is_killed_later(kvm: SimHypervisor, mode: str) -> None:
    """It neither reserves nor checks: a guest larger than its node dies although others have room."""
    uuid = started(kvm, domain_xml(mib=1200, inner=numatune(mode, "3")))
    kvm.resume(uuid)
    assert pages_of(kvm, uuid) == {3: 300}
    kvm.touch(uuid, 1200 * MIB)
    dead = kvm.find(uuid)
    assert dead is not None
    assert (dead.state, dead.resident_kib) == (OccupantState.SHUTOFF, {})


def test_kvm_preferred_spills_silently(kvm: SimHypervisor) -> None:
    """Where `strict` would be killed."""
    full = pages_when_full(kvm, domain_xml(mib=1200, inner=numatune("preferred", "3")))
    assert full[3] == 896
    assert sum(full.values()) == 1200


def test_kvm_huge_pages_are_taken_at_the_start_or_it_fails(kvm: SimHypervisor) -> None:
    """64 pages a node: 100 MiB fit, a second guest of 100 MiB is refused by name."""
    huge = "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>"
    first = started(kvm, domain_xml(mib=100, inner=huge + numatune("strict", "3")))
    assert pages_of(kvm, first) == {3: 100}
    second = kvm.define(domain_xml("h", mib=100, inner=huge + numatune("strict", "3")))
    with pytest.raises(SimError, match="unable to map backing store for guest RAM: Cannot allocate memory"):
        kvm.start(second)


@pytest.mark.parametrize(
    ("inner", "code", "says"),
    [
        (numatune("strict", "7"), 67, "NUMA node 7 is unavailable"),
        (pins("12"), 38, "Numerical result out of range"),
        ("<vcpu cpuset='x'>2</vcpu>", 27, "XML error"),
        ("<vcpu>many</vcpu>", 27, "XML error"),
    ],
)
def test_kvm_refuses_what_is_not_there(kvm: SimHypervisor, inner: str, code: int, says: str) -> None:
    """With libvirt's error numbers; nothing is left started."""
    with pytest.raises(SimError, match=says) as error:
        started(kvm, domain_xml(inner=inner))
    assert error.value.code == code
    assert all(domain.state is OccupantState.SHUTOFF for domain in kvm.domains())


# -- Xen through libvirt -------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [CPUSET, numatune("strict", "3"), CPUSET + numatune("strict", "3")])
def test_xen_ignores_cpuset_and_numatune(xen: SimHypervisor, inner: str) -> None:
    """Automatic placement puts it elsewhere, and it may run everywhere; what it declares is disagreed with."""
    uuid = started(xen, domain_xml(inner=inner, kind="xen"))
    assert pages_of(xen, uuid) == {0: 256}
    host = read_source(f"sim:{xen.path}")
    assert host.occupants[0].effective_cpus == host.topology.online_cpus
    declared = "6-7" if "cpuset" in inner else None
    assert [dict(d.readings) for d in host.disagreements] == (
        [{"effective": "0-7", "declared": declared}] if declared else []
    )


def test_xen_follows_pins_of_every_vcpu(xen: SimHypervisor) -> None:
    """All pages are there before it runs."""
    uuid = started(xen, domain_xml(inner=pins("6-7", "6-7"), kind="xen"))
    assert pages_of(xen, uuid) == {3: 256}


def test_xen_leaves_a_vcpu_without_a_pin_free(xen: SimHypervisor) -> None:
    """The memory follows the pin that there is; the other vCPU may run anywhere."""
    uuid = started(xen, domain_xml(inner=pins("6-7"), kind="xen"))
    assert pages_of(xen, uuid) == {3: 256}
    (guest,) = read_source(f"sim:{xen.path}").occupants
    assert str(guest.effective_cpus) == "0-7"


# -- Xen through xl ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "node"),
    [
        ('cpus="6-7"', 0),  # a string leaves automatic placement on
        ('cpus=["6-7", "6-7"]', 3),
        ('cpus="6-7"\ncpus_soft="6-7"', 3),
        ('cpus_soft="6-7"', 3),
        ("", 0),
    ],
)
def test_xl_needs_a_list(xen: SimHypervisor, more: str, node: int) -> None:
    """`cpus = "6-7"`: hard affinity on node 3, memory elsewhere, and no warning."""
    uuid = started(xen, xl_cfg(more=more))
    assert pages_of(xen, uuid) == {node: 256}
    (guest,) = read_source(f"sim:{xen.path}").occupants
    assert str(guest.effective_cpus) == ("6-7" if "cpus=" in more else "0-7")


def test_xl_with_too_short_a_list_leaves_a_vcpu_free(xen: SimHypervisor) -> None:
    """One entry is needed for each *maximum* vCPU."""
    uuid = started(xen, xl_cfg(more='cpus=["6-7"]\nmaxvcpus=4'))
    (guest,) = read_source(f"sim:{xen.path}").occupants
    assert (guest.vcpus, str(guest.effective_cpus)) == (4, "0-7")
    assert pages_of(xen, uuid) == {3: 256}


def test_xl_spills_to_another_node_silently(xen: SimHypervisor) -> None:
    """A guest larger than the node's free memory: status 0, and no word."""
    full = pages_of(xen, started(xen, xl_cfg(mib=1200, more='cpus=["6-7", "6-7"]')))
    assert full == {3: 896, 0: 304}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (xl_cfg(more='vnuma=[["pnode=0","size=128","vcpus=0"]]'), "No buffer space available"),
        (xl_cfg(mib=9000), "Out of memory"),
        (xl_cfg(more='cpus="40-41"'), "vcpu hard affinity map is empty"),
        (domain_xml(kind="xen", inner="<cpu><numa><cell id='0' cpus='0-1' memory='1'/></numa></cpu>"), "vNUMA"),
    ],
    ids=["vnuma", "too big", "no such CPU", "vnuma in XML"],
)
def test_xen_refuses_what_it_refused(xen: SimHypervisor, text: str, says: str) -> None:
    """And nothing of it stays taken."""
    before = read_source(f"sim:{xen.path}").memory
    with pytest.raises(SimError, match=says):
        started(xen, text)
    assert read_source(f"sim:{xen.path}").memory == before
