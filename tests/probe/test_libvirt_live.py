"""A host through libvirt: a real libvirtd with QEMU, libvirt's test driver, and what goes wrong before either."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from probe.cpuset import CpuSet
from probe.errors import BadInputError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS
from probe.mark import NUMAPLACE_XMLNS
from probe.snapshot import HostSnapshot, Hypervisor, OccupantState
from probe.sources.libvirt_affinity import vcpu_affinities
from probe.sources.libvirt_live import advice_for, read_libvirt
from tests.libvirtd import PREFIX

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MIB = 1024


def read(uri: str) -> HostSnapshot:
    return read_libvirt(uri, limits=DEFAULT_LIMITS, now=NOW, spec=uri)


def guest_xml(name: str, *, inner: str = "", memory_mib: int = 64) -> str:
    return (
        f"<domain type='qemu'><name>{PREFIX}{name}</name><memory unit='MiB'>{memory_mib}</memory>"
        f"<os><type arch='x86_64'>hvm</type></os>{inner}<devices><memballoon model='none'/></devices></domain>"
    )


OURS = f"<metadata><n:guest xmlns:n='{NUMAPLACE_XMLNS}' ledger='l1' claim='c1'/></metadata>"
PINNED = (
    OURS + "<vcpu cpuset='0'>1</vcpu><cputune><vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/></cputune>"
    "<numatune><memory mode='strict' nodeset='0'/></numatune>"
)


@pytest.fixture
def connection(libvirtd: str) -> Iterator[Any]:
    """A connection that may write; the test's domains are gone afterwards."""
    import libvirt

    opened = libvirt.open(libvirtd)
    before = {d.UUIDString() for d in opened.listAllDomains()}
    yield opened
    for domain in opened.listAllDomains():
        if domain.UUIDString() not in before and domain.name().startswith(PREFIX):
            persistent = domain.isPersistent()
            if domain.isActive():
                domain.destroy()
            if persistent:
                domain.undefine()
    opened.close()


def start_paused(connection: Any, xml: str) -> Any:
    import libvirt

    return connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)


@pytest.mark.libvirt
def test_the_host_is_what_its_kernel_says(libvirtd: str) -> None:
    """Nodes, their CPUs and totals against sysfs; nothing is written, and free memory is KiB."""
    host = read(libvirtd)
    nodes = Path("/sys/devices/system/node")
    assert [int(n.node_id) for n in host.topology.nodes] == sorted(int(p.name[4:]) for p in nodes.glob("node[0-9]*"))
    for node, memory in zip(host.topology.nodes, host.memory, strict=True):
        folder = nodes / f"node{node.node_id}"
        assert node.cpus == CpuSet.parse((folder / "cpulist").read_text())
        told = dict(re.findall(r"(Mem\w+):\s+(\d+) kB", (folder / "meminfo").read_text()))
        # Memory may be hot-plugged on a test machine, and libvirtd reads the total when it starts.
        assert 0.2 * int(told["MemTotal"]) <= (memory.total_kib or 0) <= 1.1 * int(told["MemTotal"])
        assert abs(int(told["MemFree"]) - (memory.free_kib or 0)) < 0.3 * int(told["MemTotal"])
    assert host.hypervisor is Hypervisor.KVM
    assert host.hostname == os.uname().nodename or host.hostname
    assert host.sources == (libvirtd,)


@pytest.mark.libvirt
def test_a_paused_guest_of_ours_is_an_occupant_with_declared_and_effective_cpus(connection: Any, libvirtd: str) -> None:
    """Pinned, marked, on node 0, and no more resident than it has."""
    start_paused(connection, guest_xml("ours", inner=PINNED))
    guest = next(o for o in read(libvirtd).occupants if o.guest == f"{PREFIX}ours")
    assert (guest.state, guest.vcpus, guest.ledger, guest.claim) == (OccupantState.PAUSED, 1, "l1", "c1")
    assert (str(guest.declared_cpus), str(guest.effective_cpus)) == ("0", "0")
    (share,) = guest.memory
    assert (share.node_id, share.kib, share.page_kib) == (0, 64 * MIB, 4)
    assert share.resident_kib is not None
    assert 0 < share.resident_kib <= 64 * MIB
    assert guest.source == libvirtd


@pytest.mark.libvirt
def test_each_vcpu_has_the_affinity_that_libvirts_own_binding_tells(connection: Any) -> None:
    """Both CPUs, one CPU, and none that is not there."""
    import libvirt

    pins = "<vcpu>2</vcpu><cputune><vcpupin vcpu='1' cpuset='1'/></cputune>"
    domain = start_paused(connection, guest_xml("masks", inner=pins))
    told = [CpuSet(frozenset(cpu for cpu, may in enumerate(mask) if may)) for mask in domain.vcpus()[1]]
    assert list(vcpu_affinities(libvirt, domain)) == told
    assert told[1] == CpuSet.parse("1") != told[0]
    domain.destroy()
    with pytest.raises(libvirt.libvirtError):
        vcpu_affinities(libvirt, domain)


@pytest.mark.libvirt
def test_a_strangers_guest_and_a_shut_off_one_are_occupants(connection: Any, libvirtd: str) -> None:
    """Neither has our mark; who declares nothing may run anywhere; shut off has no effective CPUs."""
    start_paused(connection, guest_xml("foreign"))
    connection.defineXML(guest_xml("off", inner="<vcpu cpuset='1'>2</vcpu>", memory_mib=128))
    host = read(libvirtd)
    foreign, off = (next(o for o in host.occupants if o.guest == f"{PREFIX}{n}") for n in ("foreign", "off"))
    assert (foreign.claim, foreign.declared_cpus, foreign.effective_cpus) == (None, None, host.topology.online_cpus)
    assert foreign.memory[0].node_id is None
    assert (off.state, off.vcpus, str(off.declared_cpus), off.effective_cpus) == (OccupantState.SHUTOFF, 2, "1", None)
    assert [(m.kib, m.resident_kib) for m in off.memory] == [(128 * MIB, None)]


@pytest.mark.libvirt
def test_a_guest_that_was_moved_behind_libvirts_back_is_a_disagreement(connection: Any, libvirtd: str) -> None:
    """`taskset` on the vCPU's thread: declared says 0, the kernel 1; effective comes first."""
    online = read(libvirtd).topology.online_cpus
    if 1 not in online:
        pytest.skip("needs CPUs 0 and 1")
    domain = start_paused(connection, guest_xml("moved", inner="<vcpu cpuset='0-1'>1</vcpu>"))
    pid = int(Path(f"/run/libvirt/qemu/{domain.name()}.pid").read_text())
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {1})
    host = read(libvirtd)
    told = {d.what: dict(d.readings) for d in host.disagreements}
    assert told[f"cpus of guest {PREFIX}moved"] == {"effective": "1", "declared": "0-1"}
    assert list(told[f"cpus of guest {PREFIX}moved"]) == ["effective", "declared"]


@pytest.mark.libvirt
def test_a_configuration_for_the_next_start_is_listed(connection: Any, libvirtd: str) -> None:
    """Defined again while it runs: what it declares now counts, what comes then is said."""
    import libvirt

    domain = connection.defineXML(guest_xml("later", inner="<vcpu>1</vcpu>"))
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    connection.defineXML(
        guest_xml("later", inner=f"<uuid>{domain.UUIDString()}</uuid><vcpu cpuset='0'>1</vcpu>", memory_mib=96)
    )
    told = {d.what: dict(d.readings) for d in read(libvirtd).disagreements}
    assert told[f"declared cpus of guest {PREFIX}later"] == {"live": "any", "next start": "0"}
    memory = told[f"declared memory of guest {PREFIX}later"]
    assert memory == {
        "live": "65536 KiB in 4 KiB pages on node any",
        "next start": "98304 KiB in 4 KiB pages on node any",
    }


@pytest.mark.libvirt
def test_libvirts_test_driver_counts_free_memory_in_kib() -> None:
    """2 and 4 GiB cells; its getCellsFreeMemory is KiB where QEMU's is bytes."""
    pytest.importorskip("libvirt", reason="libvirt-python is not installed")
    host = read("test:///default")
    assert [(m.total_kib, m.free_kib) for m in host.memory] == [(2 * MIB**2, 2 * MIB**2), (4 * MIB**2, 4 * MIB**2)]
    assert (host.hypervisor, [o.guest for o in host.occupants]) == (None, ["test"])


# -- without a daemon -----------------------------------------------------------------------------------


def test_a_bad_uri_never_reaches_libvirt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`?command=` would run a program on open: the marker file is not made."""
    monkeypatch.setitem(sys.modules, "libvirt", None)
    marker = tmp_path / "ran"
    with pytest.raises(BadInputError, match="query key 'command'"):
        read(f"qemu+ssh://h/system?command=/bin/touch%20{marker}")
    assert not marker.exists()


def test_without_libvirt_python_the_advice_is_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else runs without it."""
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(SourceUnreadableError, match="not installed") as error:
        read("qemu:///system")
    assert "pip install 'numaplace[libvirt]'" in error.value.advice


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            "Failed to connect socket to '/var/run/libvirt/libvirt-sock-ro': No such file or directory",
            "systemctl start",
        ),
        ("authentication unavailable: no polkit agent available", "usermod -aG libvirt"),
        ("Cannot recv data: root@h: Permission denied (publickey,password).", "ssh HOST true"),
        ("no connection driver available for xen:///system", "driver"),
        ("End of file while reading data", "virsh"),
    ],
)
def test_each_kind_of_failure_says_what_to_do(text: str, advice: str) -> None:
    """Not running, not allowed, no login, no driver, anything else."""
    assert advice in advice_for(text)
