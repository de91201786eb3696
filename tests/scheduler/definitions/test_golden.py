"""From a policy's answer through the plan's JSON to each definition, kept as golden files.

`NUMAPLACE_RECORD=1 python -m pytest tests/scheduler/definitions/test_golden.py` writes them anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.plan import Placement, Plan
from policies.plan_json import plan_from_json, plan_to_json
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest
from probe.cpuset import CpuSet, NodeSet
from probe.snapshot import Hypervisor
from scheduler.definitions.identity import Identity
from scheduler.definitions.parse_back import disagreements, parse_back
from scheduler.definitions.render import render
from scheduler.definitions.template import Template
from scheduler.executors.port import DefinitionKind
from tests.policies.hosts import GIB_KIB, host_of, topology_of

GOLDEN = Path(__file__).parent / "golden"
IDENTITY = Identity(
    uuid="6fa459ea-ee8a-5ca4-894e-db77e160355e", ledger="ledger-1", claim="3d813cbb-47fb-4f2a-9e0b-2c2a3c1d9f10"
)
KVM, XEN, XL = DefinitionKind.KVM_XML, DefinitionKind.XEN_XML, DefinitionKind.XL_CFG

KVM_HOST = host_of("h", cpus=4, nodes=4, memory_gib=8, pages_gib={2048: 2, 1024**2: 2})
XEN_HOST = host_of("x", cpus=4, nodes=4, memory_gib=8, hypervisor=Hypervisor.XEN)
UNEVEN = {i: {j: 10 + 5 * abs(i - j) for j in range(3)} for i in range(3)}
SMALL_NODES = host_of("h", topology=topology_of(cpus=2, nodes=3, memory_gib=4, distances=UNEVEN))
MEMORYLESS = host_of("h", topology=topology_of(cpus=4, nodes=2, memory_gib=8, cpuless=[1], memoryless=[0]))
"""Node 0 has CPUs and no memory, node 1 (CXL) memory and no CPUs."""

DOMAIN = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- of the web team -->
<domain type='kvm' id='7' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>base</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <title>{name} &amp; its "number" {index}</title>
  <description><![CDATA[<kept> for {name} as it is]]></description>
  <metadata><app:note xmlns:app='urn:app'>kept</app:note></metadata>
  <vcpu current='1'>2</vcpu>
  <cputune><shares>2048</shares></cputune>
  <os><type arch='x86_64'>hvm</type></os>
  <?kept as it is?>
  <devices>
    <disk type='file' device='disk'><source file='/srv/{disk}-{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/></interface>
  </devices>
  <qemu:commandline><qemu:arg value='{"json": {"a": 1}}'/></qemu:commandline>
</domain>
"""
CFG = """\
# of the web team
name = "base"        # ours
type = "pvh"
kernel = "/xen/vmlinux"
extra = 'root=/dev/xvda ro'
vcpus = 2
disk = [ 'phy:/dev/vg/{name},xvda,w',   # one each
         'file:/srv/tools.iso,xvdb:cdrom,r' ]
vif = [ 'mac=00:16:3e:00:00:01,bridge=xenbr0' ]
on_crash = "preserve"
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of whom, and the definitions that it becomes."""

    host: HostCapacity
    kinds: tuple[DefinitionKind, ...] = (KVM,)
    policy: str = "solver"
    template: str | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)


BOTH_XEN = (XEN, XL)
OWN = {"cpus": CpuPolicy.DEDICATED}
CASES: Mapping[str, Case] = {
    "shared": Case(KVM_HOST),
    "dedicated": Case(KVM_HOST, asked=OWN),
    "mixed": Case(KVM_HOST, asked={"cpus": CpuPolicy.MIXED, "dedicated_vcpus": CpuSet.of(0)}),
    "cells": Case(SMALL_NODES, asked={**OWN, "vcpus": 4, "memory_kib": 5 * GIB_KIB, "cells": "auto"}),
    "uneven-cells": Case(SMALL_NODES, asked={"vcpus": 5, "memory_kib": 5 * GIB_KIB, "cells": 3}),
    "interleaved": Case(SMALL_NODES, asked={"vcpus": 4, "memory_kib": 5 * GIB_KIB, "max_nodes": 2}),
    "pages-2mib": Case(KVM_HOST, asked={"page_kib": 2048}),
    "pages-1gib": Case(KVM_HOST, asked={"page_kib": 1024**2, "vcpus": 4, "memory_kib": 4 * GIB_KIB, "cells": 2}),
    "cpuless": Case(MEMORYLESS),
    "housekeeping": Case(replace(host_of("h", cpus=4, nodes=2, housekeeping="0,4"), overcommit=KVM_HOST.overcommit)),
    "unpinned": Case(KVM_HOST, policy="unpinned"),
    "template": Case(KVM_HOST, template=DOMAIN),
    "xen": Case(XEN_HOST, BOTH_XEN),
    "xen-dedicated": Case(XEN_HOST, BOTH_XEN, asked=OWN),
    "xen-mixed": Case(XEN_HOST, BOTH_XEN, asked={"cpus": CpuPolicy.MIXED, "dedicated_vcpus": CpuSet.of(0)}),
    "xen-spanning": Case(XEN_HOST, BOTH_XEN, asked={"vcpus": 6, "memory_kib": 12 * GIB_KIB, "max_nodes": 2}),
    "xen-unpinned": Case(XEN_HOST, BOTH_XEN, policy="unpinned"),
    "xl-template": Case(XEN_HOST, (XL,), template=CFG),
}
NAMES = [(name, kind) for name, case in CASES.items() for kind in case.kinds]


def planned(case: Case) -> Placement:
    """The policy's answer, checked, written as a plan and read back from its JSON text."""
    base = GuestRequest(name=GuestName("web-7"), vcpus=2, memory_kib=2 * GIB_KIB, overhead_kib=65536)
    request = replace(base, **case.asked)
    fleet = Fleet.of([case.host])
    answer = load_policy(case.policy)([request], fleet, Effort(time_limit_s=10))
    assert violations(answer.decisions, [request], fleet) == ()
    plan = Plan(decisions=answer.decisions, objective=answer.objective, policy=case.policy, status=answer.status)
    back = plan_from_json(json.loads(json.dumps(plan_to_json(plan))), origin="plan")
    assert back.decisions == plan.decisions
    (placement,) = back.placements
    return placement


def golden(name: str, kind: DefinitionKind) -> Path:
    return GOLDEN / f"{name}.{'cfg' if kind is XL else 'xen.xml' if kind is XEN else 'xml'}"


@pytest.mark.parametrize(("name", "kind"), NAMES)
def test_a_plan_becomes_its_golden_definition(name: str, kind: DefinitionKind) -> None:
    """plan → JSON → plan → definition → bindings: the same all the way, and the text as it was."""
    case = CASES[name]
    placement = planned(case)
    template = None
    if case.template is not None:
        template = Template(text=case.template, origin=name, variables={"disk": "web"}, index=7)
    made = render(placement, kind, IDENTITY, template=template, topology=case.host.topology)
    assert disagreements(placement, parse_back(made)) == ()
    path = golden(name, kind)
    if os.environ.get("NUMAPLACE_RECORD"):
        path.write_text(made.text)
    assert made.text == path.read_text()


def test_the_cases_are_what_they_are_called() -> None:
    """Unpinned has no pins; the spanning Xen guest has two nodes; CPUs and memory part where nodes do."""
    assert planned(CASES["unpinned"]).cpus is None
    spanning = planned(CASES["xen-spanning"])
    assert (len(spanning.cells), len(spanning.cells[0].cpu_nodes or ())) == (1, 2)
    (cell,) = planned(CASES["cpuless"]).cells
    assert (cell.cpu_nodes, cell.memory_nodes) == (NodeSet.of(0), NodeSet.of(1))
    assert [len(cell.vcpus) for cell in planned(CASES["uneven-cells"]).cells] == [2, 2, 1]


@pytest.mark.libvirt
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.xml")), ids=lambda path: path.name)
def test_libvirts_schema_takes_every_xml(path: Path) -> None:
    """`virt-xml-validate`: the RNG schema of the installed libvirt."""
    if not all(map(shutil.which, ("virt-xml-validate", "xmllint"))):
        pytest.skip("virt-xml-validate (libvirt-clients, libxml2-utils) is not installed")
    done = subprocess.run(["virt-xml-validate", str(path), "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.libvirt
@pytest.mark.parametrize("name", [name for name, kind in NAMES if kind is KVM])
def test_a_real_libvirtd_defines_every_kvm_definition(libvirtd: str, name: str) -> None:
    """And gives back what binds, as it was written."""
    import libvirt

    text = golden(name, KVM).read_text().replace("type='kvm'", "type='qemu'")
    with libvirt.open(libvirtd) as connection:
        domain = connection.defineXML(text)
        try:
            told = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        finally:
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    placement = planned(CASES[name])
    made = render(placement, KVM, IDENTITY, topology=CASES[name].host.topology)
    assert disagreements(placement, parse_back(replace(made, text=told))) == ()
