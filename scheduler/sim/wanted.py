"""What a definition text makes a hypervisor do, with the pitfalls that were measured.

This is the embedded hypervisor's own reading. It shares nothing with `scheduler.definitions`'
parsing back, so that it can bear witness against it (design.md, "What each hypervisor needs").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element

from probe.cpuset import CpuSet, NodeSet
from probe.errors import SourceMalformedError
from probe.mark import read_mark
from probe.safe_xml import parse_xml
from probe.snapshot import Hypervisor
from probe.sources.libvirt_xml import attribute_id, element_size_kib, id_set, number, size_kib
from scheduler.sim.errors import SimError

_XL_STRING = re.compile(r"""^\s*(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\d+))\s*(?:#.*)?$""", re.MULTILINE)
_XL_LIST = re.compile(r"^\s*(\w+)\s*=\s*\[([^\]]*)\]", re.MULTILINE)
_XL_MARK = re.compile(r"^# numaplace ledger=(\S+) claim=(\S+)$", re.MULTILINE)
_ORIGIN = "definition"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCell:
    """One guest cell: its memory, and how its pages are placed.

    Attributes:
        mode: "strict", "restrictive", "preferred", "interleave", or "local": nothing binds it.
        nodes: of the mode; for "local" empty.
    """

    memory_kib: int
    mode: str
    nodes: NodeSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A domain as its hypervisor understands it.

    Attributes:
        uuid: "" where the text has none.
        declared_cpus: what the text claims (`<vcpu cpuset>` counts here, also on Xen).
        affinity: vCPU to what it may really use; missing: all.
        near_cpus: the CPUs whose nodes unbound memory comes from. KVM: where the process starts,
            before its vCPUs are pinned. None: anywhere (KVM), or the hypervisor chooses (Xen).
        preallocated: all its pages are there when it is started.
    """

    name: str
    uuid: str
    vcpus: int
    page_kib: int
    cells: tuple[WantedCell, ...]
    declared_cpus: CpuSet | None
    affinity: Mapping[int, CpuSet]
    emulator_cpus: CpuSet | None
    near_cpus: CpuSet | None
    ledger: str | None
    claim: str | None
    preallocated: bool


@lru_cache(maxsize=4096)
def read_wanted(text: str, flavour: Hypervisor) -> Wanted:
    """Read a domain XML or an xl.cfg. Raises `SimError` for what the hypervisor refuses.

    Remembered, because every call to a host reads all of its definitions.
    """
    try:
        if text.lstrip().startswith("<"):
            domain = parse_xml(text, origin=_ORIGIN)
            return _from_kvm(domain) if flavour is Hypervisor.KVM else _from_xen(domain)
        if flavour is Hypervisor.XEN:
            return _from_xl(text)
    except SourceMalformedError as error:
        raise SimError(27, f"XML error: {error.message}") from error
    raise SimError(1, "this hypervisor takes a domain XML")


def _from_kvm(domain: Element) -> Wanted:
    common = _common(domain)
    cpuset, pins = _cpus(domain.find("vcpu")), _pins(domain)
    emulator = _cpus(domain.find("cputune/emulatorpin"))
    return Wanted(
        **common,
        page_kib=_page_kib(domain),
        cells=_kvm_cells(domain),
        declared_cpus=CpuSet.union(pins.values()) if pins else cpuset,
        affinity={**(dict.fromkeys(range(common["vcpus"]), cpuset) if cpuset is not None else {}), **pins},
        emulator_cpus=emulator or cpuset,
        near_cpus=cpuset,
        preallocated=_preallocated(domain),
    )


def _kvm_cells(domain: Element) -> tuple[WantedCell, ...]:
    memory = domain.find("numatune/memory")
    bound = {m.get("cellid"): m for m in domain.iterfind("numatune/memnode")}
    cells = domain.findall("cpu/numa/cell")
    if not cells:
        return (_kvm_cell(_memory_kib(domain), memory),)
    return tuple(
        _kvm_cell(
            size_kib(cell.get("memory"), cell.get("unit"), origin=_ORIGIN, what="<cell memory=…>"),
            bound.get(cell.get("id"), memory),
        )
        for cell in cells
    )


def _kvm_cell(memory_kib: int, policy: Element | None) -> WantedCell:
    if policy is None:
        return WantedCell(memory_kib=memory_kib, mode="local", nodes=NodeSet())
    nodes = id_set(NodeSet, policy.get("nodeset", ""), origin=_ORIGIN, what="nodeset")
    return WantedCell(memory_kib=memory_kib, mode=policy.get("mode", "strict"), nodes=nodes)


def _from_xen(domain: Element) -> Wanted:
    """libvirt's Xen driver 9.0: only `<vcpupin>` binds; `<vcpu cpuset>` and `<numatune>` are ignored."""
    if domain.find("cpu/numa/cell") is not None:
        raise SimError(1, "libxenlight failed to create new domain: vNUMA is not supported")
    pins, cpuset = _pins(domain), _cpus(domain.find("vcpu"))
    return Wanted(
        **_common(domain),
        page_kib=4,
        cells=(WantedCell(memory_kib=_memory_kib(domain), mode="local", nodes=NodeSet()),),
        declared_cpus=CpuSet.union(pins.values()) if pins else cpuset,
        affinity=pins,
        emulator_cpus=None,
        near_cpus=CpuSet.union(pins.values()) if pins else None,
        preallocated=True,
    )


def _from_xl(text: str) -> Wanted:
    """xl 4.17. Memory comes from the nodes of `cpus_soft`, else of a *list* `cpus`, else from one that it chooses."""
    strings = {m[1]: next(g for g in m.groups()[1:] if g is not None) for m in _XL_STRING.finditer(text)}
    lists = {m[1]: re.findall(r"[\"']([^\"']*)[\"']", m[2]) for m in _XL_LIST.finditer(text)}
    if "vnuma" in lists:
        raise SimError(1, "xc_domain_getvnuma failed: No buffer space available")
    vcpus = _xl_number(strings, "maxvcpus", strings.get("vcpus", "1"))
    affinity, soft = (_xl_affinity(key, strings, lists, vcpus) for key in ("cpus", "cpus_soft"))
    near = soft or (affinity if "cpus" in lists else {})
    mark = _XL_MARK.search(text)
    return Wanted(
        name=strings.get("name", ""),
        uuid=strings.get("uuid", ""),
        vcpus=vcpus,
        page_kib=4,
        cells=(WantedCell(memory_kib=_xl_number(strings, "memory", "0") * 1024, mode="local", nodes=NodeSet()),),
        declared_cpus=CpuSet.union(affinity.values()) if affinity else None,
        affinity=affinity,
        emulator_cpus=None,
        near_cpus=CpuSet.union(near.values()) if near else None,
        ledger=mark[1] if mark else None,
        claim=mark[2] if mark else None,
        preallocated=True,
    )


def _xl_affinity(key: str, strings: Mapping[str, str], lists: Mapping[str, list[str]], vcpus: int) -> dict[int, CpuSet]:
    """A string is for every vCPU; a list has one entry each, and a vCPU without one is not pinned."""
    texts = [strings[key]] * vcpus if key in strings else lists.get(key, [])[:vcpus]
    return {vcpu: id_set(CpuSet, text, origin=_ORIGIN, what=key) for vcpu, text in enumerate(texts)}


def _xl_number(strings: Mapping[str, str], key: str, otherwise: str) -> int:
    return number(strings.get(key, otherwise), origin=_ORIGIN, what=key, largest=2**40)


def _common(domain: Element) -> dict[str, Any]:
    name = domain.findtext("name", "")
    if domain.tag != "domain" or not name:
        raise SimError(27, "XML error: expected a <domain> with a <name>")
    ledger, claim = read_mark(domain)
    return {
        "name": name,
        "uuid": domain.findtext("uuid", "").strip(),
        "vcpus": number(domain.findtext("vcpu", "1"), origin=_ORIGIN, what="<vcpu>", largest=2**16),
        "ledger": ledger,
        "claim": claim,
    }


def _page_kib(domain: Element) -> int:
    """The page size asked for; `<hugepages/>` alone is the host's default, 2 MiB on x86."""
    if domain.find("memoryBacking/hugepages") is None:
        return 4
    page = domain.find("memoryBacking/hugepages/page")
    if page is None:
        return 2048
    return size_kib(page.get("size"), page.get("unit"), origin=_ORIGIN, what="<page size=…>")


def _preallocated(domain: Element) -> bool:
    """Huge pages are, and what the definition says so of."""
    ways = ("hugepages", "locked", "allocation[@mode='immediate']")
    return any(domain.find(f"memoryBacking/{way}") is not None for way in ways)


def _memory_kib(domain: Element) -> int:
    memory = domain.find("memory")
    if memory is None:
        raise SimError(27, "XML error: expected <memory>")
    return element_size_kib(memory, origin=_ORIGIN)


def _pins(domain: Element) -> dict[int, CpuSet]:
    return {
        attribute_id(pin, "vcpu", origin=_ORIGIN): _cpus(pin) or CpuSet() for pin in domain.iterfind("cputune/vcpupin")
    }


def _cpus(element: Element | None) -> CpuSet | None:
    text = None if element is None else element.get("cpuset")
    return None if text is None else id_set(CpuSet, text, origin=_ORIGIN, what="cpuset")
