"""The ways in which guests come to be placed, and what a hypervisor is told in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.asked import SmtPolicy
from policies.plan import MemoryMode, PlacedCell, PlacedMemory, Placement
from policies.request import GuestRequest, GuestShare, HostName
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from scheduler.definitions.spans import Edit, append_inside, apply_edits, element, index_xml
from scheduler.definitions.template import DEFAULT_KVM, TEMPLATE_LIMITS
from scheduler.executors.port import DefinitionKind
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig

DEFAULT, AUTO = "default", "auto"
"""What the hypervisor does where it is told nothing, and where it is told to choose (libvirt asks numad; libxl
chooses wherever it is told nothing). They stand in rows where a policy's name stands else."""

TOUCHING = "built-in guest that touches its memory"
"""The name of the template of guests that nobody described."""

_IMMEDIATE = "<memoryBacking><allocation mode='immediate'/></memoryBacking>"
"""QEMU writes to all of the guest's memory before the guest runs; one without a disk touches next to none."""

TOUCHING_KVM = DEFAULT_KVM.replace("  <os>", f"  {_IMMEDIATE}\n  <os>", 1)


def hypervisors_ways(kinds: Mapping[str, DefinitionKind], configs: Sequence[HostConfig]) -> tuple[str, ...]:
    """Which of `default` and `auto` these hosts (`kinds`, by name) have.

    On Xen they are one: libxl chooses unless it is told. The embedded hypervisor has no numad.
    """
    kvm = [config for config in configs if kinds.get(config.name) is DefinitionKind.KVM_XML]
    has_auto = all(config.executor != "sim" for config in kvm)
    return (DEFAULT,) * bool(kvm) + (AUTO,) * has_auto


def loose_placement(request: GuestRequest, host: HostName) -> Placement:
    """The guest on a host with its cells and pages, and bound to nothing."""
    request = request.in_pages(4)
    return Placement(
        guest=request.name,
        host=host,
        cells=tuple(_loose_cells(request)),
        emulator_cpus=None,
        smt=SmtPolicy.PREFER,
        overhead_kib=request.overhead_kib,
    )


def _loose_cells(request: GuestRequest) -> Iterator[PlacedCell]:
    whole = (GuestShare(vcpus=request.vcpus, memory_kib=request.memory_kib),)
    several = isinstance(request.cells, int) and request.cells > 1
    start = 0
    for number, share in enumerate(request.shares(int(request.cells)) if several else whole):
        yield PlacedCell(
            cell=number,
            vcpus=CpuSet(frozenset(range(start, start + share.vcpus))),
            cpus=None,
            cpu_nodes=None,
            pins={},
            memory=(PlacedMemory(node_id=None, kib=share.memory_kib, page_kib=request.page_kib),),
            memory_mode=MemoryMode.NONE,
        )
        start += share.vcpus


def left_to_numad(domain_xml: str) -> str:
    """A KVM domain that is bound to nothing, with all of its placement left to libvirt, which asks numad."""
    root = index_xml(domain_xml, origin="definition", limits=TEMPLATE_LIMITS)
    vcpu = root.child("vcpu")
    if vcpu is None or vcpu.inner is None or root.child("numatune") is not None:
        raise BadInputError("expected a domain with its <vcpu> and bound to nothing, to leave it to numad.")
    whole = append_inside(root, element("numatune", {}, element("memory", {"mode": "strict", "placement": "auto"})))
    tag = Edit(vcpu.start, vcpu.inner[0], '<vcpu placement="auto">')
    return apply_edits(domain_xml, [tag, whole])


def told_by(way: str, kind: DefinitionKind, definition: str) -> str:
    """The definition of a guest that is bound to nothing, as this way of the hypervisor's has it."""
    return left_to_numad(definition) if way == AUTO and kind is DefinitionKind.KVM_XML else definition


def touching_guests(
    requests: Sequence[GuestRequest], kinds: Mapping[str, DefinitionKind]
) -> tuple[tuple[FleetGuest, ...], dict[str, str]]:
    """Guests that nobody described, and their templates. Xen places all of a guest's memory at creation anyway.

    Raises:
        BadInputError: the hosts take different definitions.
    """
    on_kvm = {kind is DefinitionKind.KVM_XML for kind in kinds.values()}
    if len(on_kvm) > 1:
        raise BadInputError(
            "KVM and Xen hosts together have no built-in guests.",
            advice="Maybe measure them one after the other with --host NAME, or give --fleet with templates.",
        )
    template = TOUCHING if True in on_kvm else None
    variables = {"domain_type": "qemu"} if template else {}
    guests = tuple(FleetGuest(request=request, template=template, variables=variables) for request in requests)
    return guests, {TOUCHING: TOUCHING_KVM} if template else {}
