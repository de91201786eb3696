"""Which guarantee a guest's memory has that it will be there when it is touched.

Between the last look at a host and the guest's first touch of a page somebody else may take that
page: no hypervisor of ours reserves pages that are only accounted. How large this window is:

* huge pages reserved: none. They are taken out of the pool when the guest is started, or the start
  fails and the guest is planned again;
* pre-allocated: until the guest is started, paused. All its pages are allocated there, or the start
  fails. On KVM by `<allocation mode='immediate'/>` or `<locked/>` in the template; Xen places all
  pages of a guest at its creation, and we count them before it runs;
* accounted only: as long as the guest has untouched memory. Nobody in the books is promised it
  meanwhile; somebody outside them may take it, and `strict` then has the guest killed.
"""

from __future__ import annotations

from enum import StrEnum
from xml.etree.ElementTree import Element

from policies.plan import Placement
from probe.safe_xml import parse_xml
from probe.sources.libvirt_xml import element_size_kib
from scheduler.definitions.xl_grammar import last_values, parse_xl_cfg
from scheduler.executors.port import DefinitionKind, DomainDefinition


class MemoryGuarantee(StrEnum):
    """From the strongest to the weakest."""

    HUGE_PAGES = "huge pages reserved"
    PREALLOCATED = "pre-allocated"
    ACCOUNTED = "accounted only"

    @property
    def short(self) -> str:
        """For a column of a table."""
        return self.value.removesuffix(" reserved").removesuffix(" only")


def memory_guarantee(placement: Placement, *, preallocated: bool) -> MemoryGuarantee:
    """The guarantee of a guest at its place; `preallocated` as in `DomainFound`."""
    if all(memory.page_kib > 4 for cell in placement.cells for memory in cell.memory):
        return MemoryGuarantee.HUGE_PAGES
    return MemoryGuarantee.PREALLOCATED if preallocated else MemoryGuarantee.ACCOUNTED


def guarantee_of(placement: Placement, definition: DomainDefinition) -> MemoryGuarantee:
    """The guarantee of a guest that is made from this definition."""
    if definition.kind is DefinitionKind.XL_CFG:
        return memory_guarantee(placement, preallocated=xl_allocates_at_start(definition.text, origin=definition.guest))
    domain = parse_xml(definition.text, origin=f"definition of {definition.guest}")
    return memory_guarantee(placement, preallocated=allocates_at_start(domain))


def allocates_at_start(domain: Element) -> bool:
    """Whether a libvirt domain has all of its memory when it is started.

    Source: libvirt, formatdomain, "Memory Backing". A Xen domain starts with its `<currentMemory>`.
    Raises `SourceMalformedError`.
    """
    if domain.get("type") == "xen":
        sizes = (domain.find(tag) for tag in ("memory", "currentMemory"))
        return len({element_size_kib(size, origin="domain") for size in sizes if size is not None}) == 1
    backing = domain.find("memoryBacking")
    if backing is None:
        return False
    allocation = backing.find("allocation")
    return backing.find("locked") is not None or (allocation is not None and allocation.get("mode") == "immediate")


def xl_allocates_at_start(text: str, *, origin: str) -> bool:
    """The same of an xl.cfg: it may grow only where `maxmem` is more than `memory` (xl.cfg(5)).

    Raises `SourceMalformedError`.
    """
    values = last_values(parse_xl_cfg(text, origin=origin), origin=origin)
    return values.get("maxmem", values.get("memory")) == values.get("memory")
