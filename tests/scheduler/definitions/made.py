"""Placements and templates that the tests of definitions begin with."""

from __future__ import annotations

from policies.compose import make_placement
from policies.homes import homes
from policies.plan import Placement
from policies.request import GuestName, GuestRequest
from probe.snapshot import Hypervisor
from scheduler.definitions.identity import Identity
from scheduler.definitions.render import render
from scheduler.definitions.template import Template
from scheduler.executors.port import DefinitionKind, DomainDefinition
from tests.policies.hosts import host_of

KVM, XEN, XL = DefinitionKind.KVM_XML, DefinitionKind.XEN_XML, DefinitionKind.XL_CFG
IDENTITY = Identity(uuid="6fa459ea-ee8a-5ca4-894e-db77e160355e", ledger="ledger-1", claim="claim-1")


def small(**changes: object) -> GuestRequest:
    """A guest of 2 vCPUs and 2 GiB, but for the changes."""
    return GuestRequest(**{"name": GuestName("g"), "vcpus": 2, "memory_kib": 2 * 1024**2, **changes})  # type: ignore[arg-type]


def placed(request: GuestRequest, *, hypervisor: Hypervisor | None = None, parts: int = 1) -> Placement:
    """Its home on the first nodes of a host of four."""
    host = host_of("h", nodes=4, cpus=8, hypervisor=hypervisor)
    return make_placement(request, host, homes(host)[:parts])


def placed_as(kind: DefinitionKind) -> Placement:
    """The home of the small guest on the hypervisor of a kind of definition."""
    return placed(small(), hypervisor=Hypervisor.KVM if kind is KVM else Hypervisor.XEN)


def merged(text: str, kind: DefinitionKind = KVM, identity: Identity | None = None, **template: object) -> str:
    """The small guest's definition from a template called t."""
    made = Template(**{"text": text, "origin": "t", **template})  # type: ignore[arg-type]
    return render(placed_as(kind), kind, identity, template=made).text


def definition(name: str, text: str, kind: DefinitionKind = KVM) -> DomainDefinition:
    return DomainDefinition(guest=name, uuid=name, kind=kind, text=text)
