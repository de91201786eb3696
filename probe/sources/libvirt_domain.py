"""What a libvirt domain XML *declares*: vCPUs, pins, memory and where it should be.

Declared is not effective: on Xen the driver ignores `<vcpu cpuset>` and `<numatune>` and echoes them
all the same (measured; lab/xen/NOTES.md). So a Xen domain's memory is read without a node here; the
live source takes it from what `virDomainGetVcpus` says. Format: libvirt, formatdomain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from xml.etree.ElementTree import Element

from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.mark import read_mark
from probe.safe_xml import parse_xml
from probe.snapshot import Hypervisor, OccupantMemory
from probe.sources.libvirt_memory import memory_shares
from probe.sources.libvirt_xml import id_set, number

MAX_VCPUS = 16_384
"""More vCPUs than any hypervisor gives one guest; a larger number is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredDomain:
    """A domain XML as a value.

    Attributes:
        domain_type: `<domain type=…>`: "kvm", "qemu", "xen".
        vcpus: the maximum, also where fewer are plugged in.
        vcpu_cpuset: `<vcpu cpuset>`; None where absent or left to numad (`placement='auto'`).
        vcpu_pins: `<vcpupin>`, by vCPU; those of vCPUs that the guest has not got are left out.
        emulator_cpus: `<emulatorpin>`; None where absent.
        memory: where the memory should be, page size by page size; see `libvirt_memory`.
        ledger, claim: our mark (`probe.mark`); None for a stranger.
    """

    name: str
    uuid: str | None
    domain_type: str
    vcpus: int
    vcpu_cpuset: CpuSet | None = None
    vcpu_pins: Mapping[int, CpuSet] = field(default_factory=dict)
    emulator_cpus: CpuSet | None = None
    memory: tuple[OccupantMemory, ...] = ()
    ledger: str | None = None
    claim: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vcpu_pins", MappingProxyType(dict(self.vcpu_pins)))

    @property
    def memory_kib(self) -> int:
        """All memory that was promised to it."""
        return sum(share.kib for share in self.memory)

    @property
    def declared_cpus(self) -> CpuSet | None:
        """Union of what its vCPUs may use; None where one of them has neither pin nor cpuset.

        The emulator threads are not vCPUs and not in it.
        """
        if len(self.vcpu_pins) < self.vcpus and self.vcpu_cpuset is None:
            return None
        rest = [self.vcpu_cpuset] if self.vcpu_cpuset is not None and len(self.vcpu_pins) < self.vcpus else []
        return CpuSet.union([*self.vcpu_pins.values(), *rest])

    @property
    def hypervisor(self) -> Hypervisor | None:
        """The hypervisor that its type names; None for types that neither of the two runs."""
        if self.domain_type == "xen":
            return Hypervisor.XEN
        return Hypervisor.KVM if self.domain_type in ("kvm", "qemu") else None


def parse_domain(content: str | bytes, *, origin: str, limits: ReadLimits = DEFAULT_LIMITS) -> DeclaredDomain:
    """Read a `<domain>` document, live or inactive.

    Raises:
        SourceMalformedError: it is none, has no name, or a number, set or size cannot be read.
    """
    domain = parse_xml(content, origin=origin, limits=limits)
    if domain.tag != "domain":
        raise SourceMalformedError(origin, "a <domain> document", f"<{domain.tag}>")
    name = domain.findtext("name", "").strip()
    if not name:
        raise SourceMalformedError(origin, "a <domain> with a <name>", name)
    vcpu = domain.find("vcpu")
    vcpus = 1 if vcpu is None else _vcpu_count(vcpu, origin)
    emulator = domain.find("cputune/emulatorpin")
    ledger, claim = read_mark(domain)
    return DeclaredDomain(
        name=name,
        uuid=domain.findtext("uuid", "").strip() or None,
        domain_type=domain.get("type", ""),
        vcpus=vcpus,
        vcpu_cpuset=None if vcpu is None else _cpuset(vcpu, origin),
        vcpu_pins=_pins(domain, vcpus, origin),
        emulator_cpus=None if emulator is None else _cpus(emulator, origin),
        memory=memory_shares(domain, origin=origin),
        ledger=ledger,
        claim=claim,
    )


def _vcpu_count(vcpu: Element, origin: str) -> int:
    return number(vcpu.text, origin=origin, what="<vcpu>", largest=MAX_VCPUS)


def _cpuset(vcpu: Element, origin: str) -> CpuSet | None:
    """`<vcpu cpuset=…>`; with `placement='auto'` numad decides and libvirt ignores it."""
    if vcpu.get("placement") == "auto" or "cpuset" not in vcpu.attrib:
        return None
    return _cpus(vcpu, origin)


def _cpus(element: Element, origin: str) -> CpuSet:
    return id_set(CpuSet, element.get("cpuset", ""), origin=origin, what=f"<{element.tag} cpuset=…>")


def _pins(domain: Element, vcpus: int, origin: str) -> dict[int, CpuSet]:
    pins = {}
    for pin in domain.iterfind("cputune/vcpupin"):
        vcpu = number(pin.get("vcpu"), origin=origin, what="<vcpupin vcpu=…>", largest=2**31)
        if vcpu < vcpus:
            pins[vcpu] = _cpus(pin, origin)
    return pins
