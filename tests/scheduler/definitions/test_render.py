"""plan ↔ definition: what is written says what the plan says, whatever a policy may answer."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from policies.compose import make_placement, make_unpinned
from policies.homes import homes
from policies.plan import MemoryMode, Placement, Plan
from policies.plan_json import plan_from_json, plan_to_json
from policies.request import AskedMemoryMode, CpuPolicy, GuestName
from probe.cpuset import CpuSet
from probe.snapshot import Hypervisor
from scheduler.definitions.identity import Identity
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.definitions.render import definition_of, guest_uuid, render
from scheduler.definitions.template import Template
from scheduler.executors.port import DefinitionKind
from tests.policies.hosts import host_of
from tests.policies.strategies import fleets, placed as placed_on
from tests.scheduler.definitions.made import IDENTITY, KVM, XEN, XL, definition, placed, small

TEMPLATES = {
    KVM: "<domain><name>{name}</name><metadata/><cputune><shares>2</shares></cputune><cpu/><memoryBacking/></domain>",
    XEN: "<domain type='xen'/>",
    XL: "# {name}\ntype = 'pvh'; vif = ['']",
}


@given(data=st.data())
def test_every_placement_of_every_policy_is_written_and_read_back(data: st.DataObject) -> None:
    """plan → JSON → plan → KVM XML, or Xen XML and xl.cfg → the same plan, with and without a template."""
    fleet = data.draw(fleets(max_hosts=1))
    tried = data.draw(placed_on(fleet, "g"))
    plan = Plan(decisions=(tried,), policy="any")
    (placement,) = plan_from_json(json.loads(json.dumps(plan_to_json(plan))), origin="plan").placements
    host = fleet.hosts[0]
    for kind in (XEN, XL) if host.hypervisor is Hypervisor.XEN else (KVM,):
        template = data.draw(st.sampled_from([None, Template(text=TEMPLATES[kind], origin="t")]))
        identity = data.draw(st.sampled_from([None, IDENTITY]))
        made = render(placement, kind, identity, template=template, topology=host.topology)
        assert () == disagreements(tried, parse_back(made))


@given(data=st.data())
def test_a_definition_says_what_one_placement_says(data: st.DataObject) -> None:
    """Another placement of the same guest agrees with it only if it is written the same."""
    fleet = data.draw(fleets(max_hosts=1))
    one, other = data.draw(placed_on(fleet, "g")), data.draw(placed_on(fleet, "g"))
    host = fleet.hosts[0]
    kind = XL if host.hypervisor is Hypervisor.XEN else KVM
    made, others = (definition_of(p, kind, topology=host.topology) for p in (one, other))
    assert (made.text == others.text) == (disagreements(one, parse_back(others)) == ())


DEDICATED = placed(small(cpus=CpuPolicy.DEDICATED))
CELL = DEDICATED.cells[0]
ALTERED = {
    "name": replace(DEDICATED, guest=GuestName("x")),
    "pins": replace(DEDICATED, cells=(replace(CELL, pins={0: CELL.pins[1], 1: CELL.pins[0]}),)),
    "vCPUs": replace(DEDICATED, cells=(replace(CELL, vcpus=CpuSet.of(0)),)),
    "memory": replace(DEDICATED, cells=(replace(CELL, memory=(replace(CELL.memory[0], kib=4),)),)),
    "nodes": replace(DEDICATED, cells=(replace(CELL, memory_mode=MemoryMode.PREFERRED),)),
    "emulator": replace(DEDICATED, emulator_cpus=None),
}


@pytest.mark.parametrize(("what", "other"), ALTERED.items(), ids=ALTERED.keys())
def test_each_difference_is_told_by_its_name(what: str, other: Placement) -> None:
    """A definition of a placement with one thing changed disagrees in that thing alone."""
    wrong = disagreements(other, parse_back(definition_of(DEDICATED, KVM)))
    assert [what] == [line.partition(":")[0] for line in wrong]


@pytest.mark.parametrize("mode", ["strict", "preferred", "restrictive"])
def test_the_memory_mode_that_was_asked_for_is_written(mode: str) -> None:
    """On the home node, and read back as what it is."""
    placement = placed(small(memory_mode=AskedMemoryMode(mode)))
    made = definition_of(placement, KVM)
    assert f'mode="{mode}" nodeset="0"' in made.text
    assert () == disagreements(placement, parse_back(made))


def test_an_unpinned_guest_has_no_pins() -> None:
    """Nothing of ours but its identity and its size."""
    text = definition_of(make_unpinned(small(), host_of("h")), KVM).text
    assert not re.search("cputune|numatune|cpuset", text)


def test_xen_takes_a_list_of_pins_and_no_numatune() -> None:
    """The forms that bind: a list entry for each vCPU in xl.cfg, a vcpupin for each in XML."""
    placement = placed(small(), hypervisor=Hypervisor.XEN)
    assert 'cpus = ["0-7", "0-7"]' in definition_of(placement, XL).text
    xml = definition_of(placement, XEN).text
    assert 2 == xml.count("<vcpupin")
    assert not re.search("numatune|<vcpu [^>]*cpuset", xml)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (XL, 'name="g"\nuuid="u"\nvcpus=2\nmemory=2048\ncpus="0-7"\n'),
        (
            XEN,
            "<domain><name>g</name><uuid>u</uuid><memory>2097152</memory><vcpu cpuset='0-7'>2</vcpu>"
            "<numatune><memory nodeset='0'/></numatune></domain>",
        ),
    ],
)
def test_forms_that_look_right_are_read_as_what_they_do(kind: DefinitionKind, text: str) -> None:
    """A string `cpus=`, `<vcpu cpuset>` and `<numatune>` bind nothing on Xen (measured)."""
    back = parse_back(definition("g", text, kind))
    assert {} == dict(back.pins)
    assert any("pins" in line for line in disagreements(placed(small(), hypervisor=Hypervisor.XEN), back))


def test_a_guests_uuid_is_its_own_and_always_the_same() -> None:
    """Derived from ledger and guest: another ledger, or another guest, has another one."""
    assert guest_uuid("l", "g") == guest_uuid("l", "g")
    assert 3 == len({guest_uuid("l", "g"), guest_uuid("l", "h"), guest_uuid("m", "g")})


@pytest.mark.parametrize("kind", [KVM, XEN, XL])
def test_our_mark_is_replaced_and_not_repeated(kind: DefinitionKind) -> None:
    """A definition of ours is a template too: it bears one mark, the new one, wherever its namespace stands."""
    placement = placed(small(), hypervisor=Hypervisor.KVM if kind is KVM else Hypervisor.XEN)
    text = render(placement, kind, IDENTITY).text
    moved = re.sub(r'<metadata><numaplace:guest (xmlns:numaplace="[^"]*")', r"<metadata \1><numaplace:guest", text)
    for old in {text, moved}:
        new = Identity(uuid=IDENTITY.uuid, ledger="l", claim="c")
        template = Template(text=old, origin="old", replace_pins=True)
        again = render(placement, kind, new, template=template)
        assert ("l", "c") == (parse_back(again).ledger, parse_back(again).claim)
        assert "claim-1" not in again.text


def test_cells_on_one_node_are_no_farther_than_need_be() -> None:
    """libvirt takes no distance of 10 between two cells."""
    host = host_of("h", nodes=2, cpus=8)
    placement = make_placement(small(cells=2, stack_cells=True), host, homes(host)[:1])
    made = definition_of(placement, KVM, topology=host.topology)
    assert ["10", "11", "11", "10"] == re.findall(r'<sibling id="." value="(..)"', made.text)
    assert () == disagreements(placement, parse_back(made))
