"""A Xen host through libvirt: a stand-in that says what the lab's daemon said, and one that hangs."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from probe.cpuset import CpuSet
from probe.errors import SourceUnreadableError
from probe.limits import DEFAULT_LIMITS
from probe.snapshot import HostSnapshot, Hypervisor
from probe.sources import libvirt_live
from probe.sources.libvirt_live import read_libvirt, snapshot_of_connection
from tests.probe.test_libvirt_live import NOW


class LibvirtError(Exception):
    """Stands in for libvirt.libvirtError."""

    def __init__(self, message: str = "not supported", code: int = 3) -> None:
        super().__init__(message)
        self.code = code

    def get_error_code(self) -> int:
        return self.code

    def get_error_message(self) -> str:
        return str(self)


LIBVIRT = SimpleNamespace(
    libvirtError=LibvirtError,
    registerErrorHandler=lambda *_: None,
    VIR_DOMAIN_XML_INACTIVE=2,
    VIR_DOMAIN_STATS_BALLOON=4,
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT=1 << 29,
    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE=1,
)


class FakeDomain:
    """A domain by its XML and the affinity that `xl vcpu-list` showed of it."""

    def __init__(self, xml: str, hard: CpuSet, *, vanishes: bool = False) -> None:
        self._xml, self._hard, self._vanishes = xml, hard, vanishes

    def name(self) -> str:
        return re.search(r"<name>(.*?)</name>", self._xml)[1]  # type: ignore[index]

    def UUIDString(self) -> str:  # noqa: N802
        return f"uuid of {self.name()}"

    def isActive(self) -> int:  # noqa: N802
        if self._vanishes:
            raise LibvirtError("Domain not found", 42)
        return 1

    def isPersistent(self) -> int:  # noqa: N802
        return 0

    def state(self) -> list[int]:
        return [3, 1]

    def info(self) -> list[int]:
        return [3, 131072, 131072, 2, 0]

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return self._xml

    def affinities(self) -> tuple[CpuSet, ...]:
        return (self._hard, self._hard)


class FakeConnection:
    """What recorded/xen/libvirt has of a connection to Xen."""

    def __init__(self, folder: Path, domains: list[FakeDomain]) -> None:
        self._folder, self._domains = folder, domains

    def getCapabilities(self) -> str:  # noqa: N802
        return (self._folder / "virsh-capabilities.txt").read_text()

    def getType(self) -> str:  # noqa: N802
        return "Xen"

    def getHostname(self) -> str:  # noqa: N802
        return "xenlab"

    def getCellsFreeMemory(self, start: int, count: int) -> list[int]:  # noqa: N802
        told = re.findall(r"(\d+):\s+(\d+) KiB", (self._folder / "virsh-freecell.txt").read_text())
        return [int(kib) * 1024 for _, kib in told][start : start + count]

    def getFreePages(self, *_: object) -> None:  # noqa: N802
        raise LibvirtError

    def getAllDomainStats(self, *_: object) -> None:  # noqa: N802
        raise LibvirtError

    def listAllDomains(self) -> list[FakeDomain]:  # noqa: N802
        return self._domains


@pytest.fixture(autouse=True)
def affinities(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recording has libvirt's own pointer, which `vcpu_affinities` needs; the lab tests that."""
    monkeypatch.setattr(libvirt_live, "vcpu_affinities", lambda _, domain: domain.affinities())


def xen(folder: Path, *more: FakeDomain) -> HostSnapshot:
    """The five domains of the lab, with the hard affinities that `xl vcpu-list` showed."""
    table = (folder / "lv-xl-vcpu-list.txt").read_text()
    domains = list(more)
    for path in sorted(folder.glob("cfg-l[1-7]-*.xml")):
        hard = re.search(rf"^{path.stem[4:]}\s.*\s(\S+) / \S+$", table, re.M)[1]  # type: ignore[index]
        domains.append(FakeDomain(path.read_text(), CpuSet.parse("0-7" if hard == "all" else hard)))
    connection = FakeConnection(folder, domains)
    return snapshot_of_connection(LIBVIRT, connection, limits=DEFAULT_LIMITS, now=NOW, spec="xen:///system")


@pytest.mark.data
def test_on_xen_only_what_is_effective_counts(data: Path) -> None:
    """`<vcpu cpuset>` and `<numatune>` were ignored: memory has a node only where vcpupin held."""
    host = xen(data / "recorded/xen/libvirt")
    seen = {o.guest: (str(o.declared_cpus), str(o.effective_cpus), o.memory[0].node_id) for o in host.occupants}
    assert seen == {
        "l1-cpuset-n3": ("6-7", "0-7", None),
        "l2-pins-n3": ("6-7", "6-7", 3),
        "l3-cpuset-pins-n3": ("6-7", "6-7", 3),
        "l4-tune-n3": ("None", "0-7", None),
        "l5-cpuset-tune-n3": ("6-7", "0-7", None),
        "l6-auto": ("None", "0-7", None),
        "l7-autoplace": ("None", "0-7", None),
    }
    assert [(d.what, dict(d.readings)) for d in host.disagreements] == [
        (f"cpus of guest {name}", {"effective": "0-7", "declared": "6-7"})
        for name in ("l1-cpuset-n3", "l5-cpuset-tune-n3")
    ]
    assert {m.resident_kib for o in host.occupants for m in o.memory} == {131072}


@pytest.mark.data
def test_free_memory_of_xen_cells_is_what_virsh_showed(data: Path) -> None:
    """`freecell` per cell, no total (a span, TRAPS.md 6), no pools, no page cache."""
    host = xen(data / "recorded/xen/libvirt")
    assert [m.free_kib for m in host.memory] == [1307000, 2092936, 2092936, 2022728]
    assert {(m.total_kib, m.reclaimable_kib, m.hugepages) for m in host.memory} == {(None, 0, ())}
    assert (host.hypervisor, host.hostname) == (Hypervisor.XEN, "xenlab")


@pytest.mark.data
def test_a_domain_that_goes_away_while_we_look_is_left_out(data: Path) -> None:
    """Error 42 of one domain is no failure of the host."""
    gone = FakeDomain("<domain type='xen'><name>gone</name></domain>", CpuSet(), vanishes=True)
    host = xen(data / "recorded/xen/libvirt", gone)
    assert "gone" not in {o.guest for o in host.occupants}
    assert len(host.occupants) == 7


def test_a_daemon_that_hangs_is_an_error_not_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped daemon accepts connections and never answers."""
    hanging = SimpleNamespace(**vars(LIBVIRT), openReadOnly=lambda _uri: time.sleep(30))
    monkeypatch.setitem(sys.modules, "libvirt", hanging)
    begin = time.monotonic()
    with pytest.raises(SourceUnreadableError, match=r"no answer within 0\.2 s"):
        read_libvirt("qemu:///system", limits=DEFAULT_LIMITS, now=NOW, spec="q", time_limit_s=0.2)
    assert time.monotonic() - begin < 5
