"""A planned guest through a real libvirtd: created paused, bound as planned, undone without a trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from policies.fleet import Fleet
from policies.host_rules import HostRules
from policies.plan import MemoryMode, Placement
from policies.policy import Effort
from policies.promise import host_capacity
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestRequest
from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.safe_xml import parse_xml
from probe.snapshot import HostSnapshot, OccupantState
from probe.sources.registry import read_source
from scheduler.apply import Order, Site, apply_orders
from scheduler.definitions.identity import Identity
from scheduler.definitions.parse_back import parse_back
from scheduler.definitions.render import guest_uuid, render
from scheduler.definitions.size_of import template_size
from scheduler.definitions.template import Template
from scheduler.executors.libvirt import LibvirtExecutor
from scheduler.executors.port import (
    CannotMarkError,
    CannotMoveError,
    DefiniteFailureError,
    DefinitionKind,
    DomainDefinition,
    NameTakenError,
)
from scheduler.ledger import Ledger, State
from scheduler.observers.kernel_files import read_qemu_files
from scheduler.verify import figures
from tests.libvirtd import PREFIX

pytestmark = [pytest.mark.libvirt, pytest.mark.xdist_group("libvirt")]


@pytest.fixture
def executor(libvirtd: str) -> Iterator[LibvirtExecutor]:
    opened = LibvirtExecutor(libvirtd)
    yield opened
    opened.close()


def planned(snapshot: HostSnapshot, name: str, **changes: object) -> Placement:
    """What the solver says of one small guest on this machine."""
    keys = {"name": f"{PREFIX}{name}", "vcpus": 1, "memory_kib": 64 * 1024, **changes}
    request = GuestRequest(**keys)  # type: ignore[arg-type]
    fleet = Fleet.of([host_capacity("here", snapshot, HostRules())])  # type: ignore[arg-type]
    (decision,) = load_policy("solver")([request], fleet, Effort(time_limit_s=10)).decisions
    assert isinstance(decision, Placement)
    return decision


def defined(placement: Placement, claim: str) -> DomainDefinition:
    identity = Identity(uuid=guest_uuid("ledger-1", placement.guest), ledger="ledger-1", claim=claim)
    return render(placement, DefinitionKind.KVM_XML, identity)


def test_a_planned_guest_is_bound_as_planned(executor: LibvirtExecutor) -> None:
    """Created paused: its live cgroup and every thread's Cpus_allowed_list equal the plan."""
    placement = planned(read_source("sysfs:"), "bound", cpus=CpuPolicy.DEDICATED)
    definition = defined(placement, "claim-1")
    executor.define(definition)
    try:
        executor.start_paused(definition.uuid)
        found = executor.find(definition.uuid)
        assert found is not None
        assert (OccupantState.PAUSED, "ledger-1", "claim-1") == (found.state, found.ledger, found.claim)
        seen = executor.observe(definition.uuid)
        assert {0: placement.cpus} == dict(seen.vcpu_cpus)
        assert placement.emulator_cpus == seen.emulator_cpus
        assert placement.memory_nodes.ids == seen.memory_nodes_allowed
        assert placement.cpus == live_cgroup_cpus(definition.uuid)
    finally:
        executor.destroy(definition.uuid)
        executor.undefine(definition.uuid)
    assert executor.find(definition.uuid) is None


def live_cgroup_cpus(uuid: str) -> CpuSet:
    """`cpuset.cpus` of the cgroup that the vCPU's thread is in, found through /proc/PID/task/TID/cgroup."""
    (process,) = read_qemu_files(None, [uuid])[uuid]
    for task in Path(f"{process.origin.rpartition(': ')[2]}/task").iterdir():
        if (task / "comm").read_text().startswith("CPU 0/"):
            for line in (task / "cgroup").read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                for root in ("/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"):
                    file = Path(f"{root}{path}/cpuset.cpus")
                    if ("cpuset" in controllers or not controllers) and file.is_file():
                        return CpuSet.parse(file.read_text())
    raise AssertionError(f"no cpuset cgroup for {uuid}")


def test_undoing_what_is_not_there_succeeds(executor: LibvirtExecutor) -> None:
    """Destroy and undefine are idempotent; they are how a failed creation is undone."""
    executor.destroy("00000000-0000-0000-0000-00000000dead")
    executor.undefine("00000000-0000-0000-0000-00000000dead")


def test_a_strangers_name_is_never_taken(executor: LibvirtExecutor) -> None:
    """A domain of the same name with another uuid is left alone."""
    placement = planned(read_source("sysfs:"), "name")
    first = defined(placement, "claim-1")
    executor.define(first)
    try:
        other = DomainDefinition(
            guest=first.guest,
            uuid="00000000-0000-0000-0000-00000000beef",
            kind=first.kind,
            text=first.text.replace(first.uuid, "00000000-0000-0000-0000-00000000beef"),
        )
        with pytest.raises(NameTakenError):
            executor.define(other)
    finally:
        executor.undefine(first.uuid)


def test_the_whole_transaction_ends_active(executor: LibvirtExecutor, libvirtd: str, tmp_path: Path) -> None:
    """reserve → define → start paused → verify → resume → verify memory, on a real hypervisor."""
    snapshot = read_source("sysfs:")
    placement = planned(snapshot, "whole")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    site = Site(
        executor=executor,
        connect=lambda: LibvirtExecutor(libvirtd),
        topology=snapshot.topology,
        look=lambda claims: host_capacity("here", snapshot, HostRules(), claims),  # type: ignore[arg-type]
    )

    def make(identity: Identity) -> DomainDefinition:
        return render(placement, DefinitionKind.KVM_XML, identity)

    order = Order(placement=placement, render=make)
    (outcome,) = apply_orders([order], {"here": site}, ledger)
    claim = ledger.claim_of(placement.guest)
    assert claim is not None
    try:
        assert (State.ACTIVE, 0) == (outcome.state, outcome.exit_status), outcome.note
        steps = ["planned", "reserved", "reserved", "defined", "starting", "verifying", "running", "active"]
        assert steps == [event.state.value for event in ledger.events(placement.guest)]
    finally:
        executor.destroy(claim.uuid)
        executor.undefine(claim.uuid)


def test_a_driver_without_metadata_cannot_mark(executor: LibvirtExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """VIR_ERR_NO_SUPPORT (3), which no driver that is here answers, is no failure of the guest's."""
    import libvirt

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return lambda *_: self.refuse() if name == "setMetadata" else 1

        def refuse(self) -> None:
            error = libvirt.libvirtError("this function is not supported by the connection driver")
            error.err = (3, 10, "not supported", 2, "virDomainSetMetadata", None, None, -1, -1)
            raise error

    monkeypatch.setattr(executor, "_lookup", lambda _: Refusing())
    with pytest.raises(CannotMarkError, match="keeps no metadata"):
        executor.set_mark(Identity(uuid="u", ledger="l", claim="c"))
    with pytest.raises(CannotMarkError):
        executor.clear_mark("u")


def test_marking_what_is_not_there(executor: LibvirtExecutor) -> None:
    """A mark that is wanted is refused; one that is to go has gone."""
    gone = "00000000-0000-0000-0000-00000000dead"
    executor.clear_mark(gone)
    with pytest.raises(DefiniteFailureError, match="no domain"):
        executor.set_mark(Identity(uuid=gone, ledger="l", claim="c"))


def test_a_strangers_xml_that_we_refuse_to_read_hides_nobody(executor: LibvirtExecutor, libvirtd: str) -> None:
    """libvirt keeps metadata of any depth; the other domains are listed, and asked for it is an error."""
    libvirt = pytest.importorskip("libvirt")
    deep = "<d>" * 150 + "</d>" * 150
    text = (
        f"<domain type='qemu'><name>{PREFIX}deep</name><memory>65536</memory><os><type>hvm</type></os>"
        f"<metadata><x:m xmlns:x='urn:x'>{deep}</x:m></metadata></domain>"
    )
    connection = libvirt.open(libvirtd)
    deep_one = connection.defineXML(text)
    plain = connection.defineXML(text.replace(deep, "").replace("deep<", "plain<"))
    try:
        listed = {domain.guest for domain in executor.list_domains()}
        assert (True, False) == (f"{PREFIX}plain" in listed, f"{PREFIX}deep" in listed)
        with pytest.raises(SourceMalformedError, match="deep"):
            executor.find(deep_one.UUIDString())
    finally:
        for domain in (deep_one, plain):
            domain.undefine()
        connection.close()


def test_a_running_guest_is_bound_again(executor: LibvirtExecutor, libvirtd: str) -> None:
    """Its threads after somebody pinned them elsewhere, its nodes too; with `strict` only the threads."""
    libvirt = pytest.importorskip("libvirt")
    placed = planned(read_source(libvirtd), "bound")
    strict = replace(placed, cells=tuple(replace(cell, memory_mode=MemoryMode.STRICT) for cell in placed.cells))
    connection = libvirt.open(libvirtd)
    for placement in (placed, strict):
        definition = defined(placement, "c")
        executor.define(definition)
        try:
            executor.start_paused(definition.uuid)
            domain = connection.lookupByUUIDString(definition.uuid)
            before = executor.observe(definition.uuid)
            others = tuple(cpu not in next(iter(before.vcpu_cpus.values())) for cpu in range(os.cpu_count() or 1))
            if any(others):
                domain.pinVcpu(0, others)
                assert before.vcpu_cpus != executor.observe(definition.uuid).vcpu_cpus
            executor.rebind(definition.uuid, placement)
            assert before.vcpu_cpus == executor.observe(definition.uuid).vcpu_cpus
            if placement is strict:
                with pytest.raises(CannotMoveError, match="its memory mode is strict"):
                    executor.move_memory(definition.uuid, placement)
            else:
                executor.move_memory(definition.uuid, placement)
                assert before == executor.observe(definition.uuid)
        finally:
            executor.destroy(definition.uuid)
            executor.undefine(definition.uuid)
    connection.close()


ROUNDED = """<domain type='qemu'><name>{name}</name><memory unit='KiB'>65636</memory><vcpu current='1'>2</vcpu>
<iothreads>4</iothreads><iothreadids><iothread id='2'/><iothread id='7'/></iothreadids>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


def test_libvirt_reads_a_definition_as_we_do(executor: LibvirtExecutor, libvirtd: str) -> None:
    """Memory rounded up to MiB, ids of I/O threads filled in, a vCPU that is offline: still as planned."""
    libvirt = pytest.importorskip("libvirt")
    text = ROUNDED.format(name=f"{PREFIX}rounded")
    placed = planned(read_source(libvirtd), "rounded", vcpus=2, memory_kib=65 * 1024)
    assert 65 * 1024 == template_size(text, "t").memory_kib
    identity = Identity(uuid=guest_uuid("ledger-1", placed.guest), ledger="ledger-1", claim="c")
    template = Template(text=text, origin="t")
    definition = render(placed, DefinitionKind.KVM_XML, identity, template=template)
    executor.define(definition)
    try:
        executor.start_paused(definition.uuid)
        connection = libvirt.open(libvirtd)
        domain = connection.lookupByUUIDString(definition.uuid)
        live = parse_xml(domain.XMLDesc(), origin="live")
        assert str(65 * 1024) == live.findtext("memory")
        threads = dict(domain.ioThreadInfo())
        assert set(threads) == {1, 2, 3, 7} == set(parse_back(definition).iothread_cpus)
        bound = {CpuSet(frozenset(i for i, may in enumerate(mask) if may)) for mask in threads.values()}
        assert {placed.emulator_cpus} == bound
        seen = figures(placed, executor.observe(definition.uuid), read_source(libvirtd).topology)
        assert () == seen.problems
        connection.close()
    finally:
        executor.destroy(definition.uuid)
        executor.undefine(definition.uuid)
