"""Whatever is done, by whom, and whatever goes wrong: no page is lost, none is there twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from probe.errors import BadInputError, SourceMalformedError
from probe.snapshot import HostSnapshot, Hypervisor, OccupantState
from probe.sources.registry import read_source
from scheduler.sim.errors import ReplyLostError, SimError
from scheduler.sim.hypervisor import CALLS, FAULTS, SimHypervisor
from tests.conftest import ROOT
from tests.scheduler.sim.hosts import HOST, domain_xml, make, numatune, pages_of, pins, started, xl_cfg

HUGE = "<memoryBacking><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>"
POLICIES = ("", numatune("strict", "1"), numatune("preferred", "2"), numatune("interleave", "0-3"), pins("0", "1"))
EMPTY = read_source(HOST)


def free_and_taken(host: HostSnapshot) -> dict[tuple[int, int], int]:
    """(node, page size) to KiB that are free, and that guests have there."""
    total: dict[tuple[int, int], int] = {}
    for memory in host.memory:
        total[memory.node_id, 4] = memory.available_kib or 0
        for pool in memory.hugepages:
            total[memory.node_id, pool.size_kib] = (pool.free or 0) * pool.size_kib
    return total


class Host(RuleBasedStateMachine):
    """Two connections (ours and somebody else's) do anything in any order."""

    uuids = Bundle("uuids")
    flavour = Hypervisor.KVM

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.sim"
        self.connections = [make(self.path, self.flavour), SimHypervisor(self.path)]

    def teardown(self) -> None:
        for connection in self.connections:
            connection.close()
        self.folder.cleanup()

    @rule(
        target=uuids,
        who=st.integers(0, 1),
        name=st.sampled_from(["a", "b", "c", "d"]),
        mib=st.sampled_from([64, 300, 1200]),
        inner=st.sampled_from([*POLICIES, *(HUGE + policy for policy in POLICIES)]),
    )
    def define(self, who: int, name: str, mib: int, inner: str) -> str:
        text = domain_xml(name, mib=mib, inner=inner)
        if self.flavour is Hypervisor.XEN and not mib % 3:
            text = xl_cfg(name, mib=mib, more='cpus=["2-3","2-3"]')
        with suppress(SimError):
            return self.connections[who].define(text)
        return "none"

    @rule(uuid=uuids, who=st.integers(0, 1), call=st.sampled_from(["start", "resume", "destroy"]))
    def act(self, uuid: str, who: int, call: str) -> None:
        with suppress(SimError):
            getattr(self.connections[who], call)(uuid)

    @rule(uuid=uuids, who=st.integers(0, 1), mib=st.integers(0, 1000))
    def touch(self, uuid: str, who: int, mib: int) -> None:
        with suppress(SimError):
            self.connections[who].touch(uuid, mib * 1024)

    @rule(uuid=consumes(uuids), who=st.integers(0, 1))
    def undefine(self, uuid: str, who: int) -> None:
        with suppress(SimError):
            self.connections[who].undefine(uuid)

    @rule(call=st.sampled_from(CALLS), kind=st.sampled_from(["fail"]), nth=st.integers(1, 3))
    def disturb(self, call: str, kind: str, nth: int) -> None:
        self.connections[0].inject(call, kind, nth=nth)

    @invariant()
    def pages_are_conserved(self) -> None:
        """Free and resident pages of each size on each node are what the empty host has."""
        now = read_source(f"sim:{self.path}")
        held = free_and_taken(now)
        for occupant in now.occupants:
            assert occupant.state is not OccupantState.SHUTOFF or not any(m.resident_kib for m in occupant.memory)
        for connection in self.connections[:1]:
            with suppress(SimError):
                for domain in connection.domains():
                    for node, kib in domain.resident_kib.items():
                        assert kib >= 0
                        held[node, domain.wanted.page_kib] += kib
                assert held == free_and_taken(EMPTY)
        assert all(kib >= 0 for kib in free_and_taken(now).values())


class XenHost(Host):
    """The same on Xen."""

    flavour = Hypervisor.XEN


_quick = settings(max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TestKvm = Host.TestCase
TestKvm.settings = _quick
TestXen = XenHost.TestCase
TestXen.settings = _quick


def test_a_refusal_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """Told to fail at any call: the domain and the pages are as before."""
    sim = make(tmp_path / "s.sim", Hypervisor.KVM)
    uuid = started(sim, domain_xml(inner=numatune("strict", "1")))
    acts: list[tuple[str, Callable[[], object]]] = [
        ("resume", lambda: sim.resume(uuid)),
        ("destroy", lambda: sim.destroy(uuid)),
        ("define", lambda: sim.define(domain_xml("other"))),
        ("touch", lambda: sim.touch(uuid, 4096)),
    ]
    for call, act in acts:
        before = sim.domains(), read_source(f"sim:{sim.path}").memory
        sim.inject(call, "fail")
        with pytest.raises(SimError, match="told to fail"):
            act()
        assert (sim.domains(), read_source(f"sim:{sim.path}").memory) == before


def test_a_lost_reply_has_been_done(tmp_path: Path) -> None:
    """The caller cannot know; a look tells."""
    sim = make(tmp_path / "s.sim", Hypervisor.KVM)
    uuid = started(sim, domain_xml(inner=numatune("strict", "1")))
    sim.inject("resume", "lose-reply")
    with pytest.raises(ReplyLostError, match="End of file"):
        sim.resume(uuid)
    domain = sim.find(uuid)
    assert domain is not None
    assert domain.state is OccupantState.RUNNING
    assert pages_of(sim, uuid) == {1: 64}


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind.startswith("die")])
@pytest.mark.parametrize("call", ["define", "start", "resume", "destroy"])
def test_whoever_dies_in_a_call_leaves_a_whole_file(tmp_path: Path, call: str, kind: str) -> None:
    """A real process dies before or after; another goes on with what was or was not done."""
    sim = make(tmp_path / "s.sim", Hypervisor.KVM)
    uuid = sim.define(domain_xml(inner=numatune("strict", "1")))
    if call in ("resume", "destroy"):
        sim.start(uuid)
    act = "define('<domain><name>x</name><memory>4</memory></domain>')" if call == "define" else f"{call}('{uuid}')"
    sim.inject(call, kind)
    code = f"from scheduler.sim.hypervisor import Path, SimHypervisor; SimHypervisor(Path({str(sim.path)!r})).{act}"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 70
    done = kind == "die-after"
    states = {domain.wanted.name: domain.state for domain in sim.domains()}
    expected = {
        "define": states.get("x") is OccupantState.SHUTOFF,
        "start": states["g"] is OccupantState.PAUSED,
        "resume": states["g"] is OccupantState.RUNNING,
        "destroy": states["g"] is OccupantState.SHUTOFF,
    }
    assert expected[call] is done
    assert read_source(f"sim:{sim.path}").occupants


def test_several_processes_share_a_host(tmp_path: Path) -> None:
    """Four at once, each with guests of its own: none is lost, and the memory adds up."""
    path = tmp_path / "s.sim"
    make(path, Hypervisor.KVM).close()
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.scheduler.sim.hosts import domain_xml, numatune, started\n"
        "from scheduler.sim.hypervisor import SimHypervisor\n"
        "sim = SimHypervisor(Path(sys.argv[1]))\n"
        "for i in range(5):\n"
        "    text = domain_xml(f'g{sys.argv[2]}-{i}', mib=40, inner=numatune('strict', sys.argv[2]))\n"
        "    sim.resume(started(sim, text))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), str(node)], cwd=ROOT) for node in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4
    host = read_source(f"sim:{path}")
    assert len(host.occupants) == 20
    assert [e.free_kib - n.free_kib for e, n in zip(EMPTY.memory, host.memory, strict=True)] == [5 * 10 * 1024] * 4  # type: ignore[operator]


def test_a_domain_defined_anew_while_it_runs_changes_at_its_next_start(tmp_path: Path) -> None:
    """As with libvirt: what runs stays as it is."""
    sim = make(tmp_path / "s.sim", Hypervisor.KVM)
    uuid = started(sim, domain_xml(inner=numatune("strict", "1")))
    sim.define(
        f"<domain><name>g</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory>{numatune('strict', '2')}</domain>"
    )
    sim.resume(uuid)
    assert pages_of(sim, uuid) == {1: 64}
    sim.destroy(uuid)
    sim.start(uuid)
    sim.resume(uuid)
    assert pages_of(sim, uuid) == {2: 16}


def test_a_name_or_uuid_that_is_taken_is_refused(tmp_path: Path) -> None:
    """And the older domain stays as it is."""
    sim = make(tmp_path / "s.sim", Hypervisor.KVM)
    uuid = sim.define(domain_xml("g"))
    for text in (domain_xml("g"), domain_xml("h", inner=f"<uuid>{uuid}</uuid>")):
        with pytest.raises(SimError, match="already exists") as error:
            sim.define(text)
        assert error.value.code == 9
    assert [domain.wanted.uuid for domain in sim.domains()] == [uuid]


def test_a_host_file_is_neither_overwritten_nor_misread(tmp_path: Path) -> None:
    """It exists; it is none; it is of another version; it is damaged while it is open."""
    path = tmp_path / "s.sim"
    sim = make(path, Hypervisor.KVM)
    with pytest.raises(BadInputError, match="exists already"):
        make(path, Hypervisor.KVM)
    (tmp_path / "text").write_text("no database")
    with pytest.raises(SourceMalformedError, match="a host of the embedded hypervisor"):
        SimHypervisor(tmp_path / "text")
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE fault")
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(SimError, match="no such table"):
        sim.domains()
    with pytest.raises(SourceMalformedError, match="version 1, got '7'"):
        SimHypervisor(path)
