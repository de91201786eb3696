"""Which guarantee a guest's memory has, in the words of definitions and of hypervisors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policies.plan import Placement
from scheduler.definitions.identity import Identity
from scheduler.definitions.render import render
from scheduler.definitions.template import Template, default_template
from scheduler.executors.port import DefinitionKind
from scheduler.executors.sim import SimExecutor
from scheduler.memory_guarantee import MemoryGuarantee, guarantee_of, memory_guarantee
from scheduler.sim.hypervisor import SimHypervisor
from scheduler.steps import Step
from tests.scheduler.ledger.made import SNAPSHOT, placement
from tests.scheduler.transaction.planned import request, world_in
from tests.scheduler.transaction.strangers import At
from tests.scheduler.transaction.world import FLAVOURS, on_xen

IDENTITY = Identity(uuid="5f0e0000-0000-4000-8000-000000000001", ledger="ledger", claim="claim")
HUGE = MemoryGuarantee.HUGE_PAGES
PREALLOCATED = MemoryGuarantee.PREALLOCATED
ACCOUNTED = MemoryGuarantee.ACCOUNTED
BACKING = [
    ("", ACCOUNTED),
    ("<memoryBacking><allocation mode='immediate'/></memoryBacking>", PREALLOCATED),
    ("<memoryBacking><locked/></memoryBacking>", PREALLOCATED),
    ("<memoryBacking><allocation mode='ondemand'/></memoryBacking>", ACCOUNTED),
    ("<memoryBacking><source type='memfd'/></memoryBacking>", ACCOUNTED),
]


def kvm(inner: str) -> Template:
    return Template(text=f"<domain type='qemu'><name>{{name}}</name>{inner}</domain>", origin="t.xml")


@pytest.mark.parametrize(("backing", "expected"), BACKING)
def test_what_a_kvm_guests_template_says(tmp_path: Path, backing: str, expected: MemoryGuarantee) -> None:
    """From its definition, and from what the hypervisor shows of it."""
    placed = placement("db")
    definition = render(placed, DefinitionKind.KVM_XML, IDENTITY, template=kvm(backing), topology=SNAPSHOT.topology)
    assert expected is guarantee_of(placed, definition)
    SimHypervisor.create(tmp_path / "h.sim", SNAPSHOT, FLAVOURS["h1"], name="h").close()
    executor = SimExecutor(tmp_path / "h.sim")
    executor.define(definition)
    found = executor.find(IDENTITY.uuid)
    assert found is not None
    assert expected is memory_guarantee(placed, preallocated=found.preallocated)
    executor.close()


def test_huge_pages_are_reserved() -> None:
    """They are gone from the pool when the guest is started."""
    placed = placement("db", page_kib=2048)
    definition = render(placed, DefinitionKind.KVM_XML, IDENTITY, template=kvm(""), topology=SNAPSHOT.topology)
    assert HUGE is guarantee_of(placed, definition)


@pytest.mark.parametrize("kind", [DefinitionKind.XEN_XML, DefinitionKind.XL_CFG])
def test_xen_has_all_pages_before_a_guest_runs(kind: DefinitionKind) -> None:
    """Unless it may grow later; that part is only accounted."""
    placed: Placement = on_xen(placement("far", cpus="0-1", vcpus=2))
    made = render(placed, kind, IDENTITY, template=default_template(kind), topology=SNAPSHOT.topology)
    assert PREALLOCATED is guarantee_of(placed, made)
    grown = {
        DefinitionKind.XEN_XML: made.text.replace(
            "</memory>", "</memory><currentMemory unit='KiB'>4096</currentMemory>"
        ),
        DefinitionKind.XL_CFG: f"{made.text}maxmem = 4096\n",
    }[kind]
    other = replace(made, text=grown)
    assert ACCOUNTED is guarantee_of(placed, other)


def test_what_is_preallocated_is_there_or_the_start_fails(tmp_path: Path) -> None:
    """Between the last look and the start somebody takes the node: such a guest never runs there, it moves."""
    world = world_in(tmp_path)
    file = world.plan(request("db", gib=6), templates={"t.xml": kvm(BACKING[1][0]).text})
    done = world.apply_plan(file, faults=At(Step.START, lambda: world.fill("h1", 0, 5)))["db"]
    assert (0, PREALLOCATED) == (done.exit_status, done.memory_guarantee), done
    assert "cannot allocate memory" in done.moves[0].why.lower()
    assert ("h1", "1") == world.homes()["db"]
