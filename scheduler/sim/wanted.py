"""What a definition text makes a hypervisor do, with the pitfalls that were measured.

This is the embedded hypervisor's own reading. It shares nothing with `scheduler.definitions`'
parsing back, so that it can bear witness against it (design.md, "What each hypervisor needs").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from probe.cpuset import CpuSet, NodeSet
from probe.mark import read_mark
from probe.safe_xml import parse_xml
from probe.snapshot import Hypervisor
from scheduler.sim.errors import SimError

_KIB = {"b": 1 / 1024, "bytes": 1 / 1024, "KiB": 1, "k": 1, "MiB": 1024, "M": 1024, "GiB": 1024**2, "G": 1024**2}
_XL_STRING = re.compile(r"""^\s*(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\d+))\s*$""", re.MULTILINE)
_XL_LIST = re.compile(r"^\s*(\w+)\s*=\s*\[([^\]]*)\]", re.MULTILINE)
_XL_MARK = re.compile(r"^# numaplace ledger=(\S+) claim=(\S+)$", re.MULTILINE)


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
        declared_cpus: what the text claims (`<vcpu cpuset>` counts here, also on Xen).
        affinity: vCPU to what it may really use; missing: all.
        start_cpus: where the process is before its vCPUs are pinned (KVM); None: anywhere.
        automatic: the hypervisor chooses the memory's node itself, whatever the pins say.
    """

    name: str
    uuid: str
    vcpus: int
    page_kib: int
    cells: tuple[WantedCell, ...]
    declared_cpus: CpuSet | None
    affinity: Mapping[int, CpuSet]
    emulator_cpus: CpuSet | None
    start_cpus: CpuSet | None
    automatic: bool
    ledger: str | None
    claim: str | None


def read_wanted(text: str, flavour: Hypervisor) -> Wanted:
    """Read a domain XML or an xl.cfg. Raises `SimError` for what the hypervisor refuses."""
    if text.lstrip().startswith("<"):
        domain = parse_xml(text, origin="definition")
        return _from_kvm(domain) if flavour is Hypervisor.KVM else _from_xen(domain)
    if flavour is not Hypervisor.XEN:
        raise SimError(1, "this hypervisor takes a domain XML")
    return _from_xl(text)


def _from_kvm(domain: Element) -> Wanted:
    common = _common(domain)
    cpuset = _cpus(domain.find("vcpu"))
    pins = _pins(domain)
    emulator = _cpus(domain.find("cputune/emulatorpin"))
    vcpus = int(common["vcpus"])
    return Wanted(
        **common,
        cells=_kvm_cells(domain),
        declared_cpus=CpuSet.union(pins.values()) if pins else cpuset,
        affinity={**(dict.fromkeys(range(vcpus), cpuset) if cpuset is not None else {}), **pins},
        emulator_cpus=emulator or cpuset,
        start_cpus=cpuset,
        automatic=False,
    )


def _kvm_cells(domain: Element) -> tuple[WantedCell, ...]:
    memory = domain.find("numatune/memory")
    mode = "local" if memory is None else memory.get("mode", "strict")
    nodes = NodeSet() if memory is None else NodeSet.parse(memory.get("nodeset", ""))
    bound = {m.get("cellid"): m for m in domain.iterfind("numatune/memnode")}
    cells = domain.findall("cpu/numa/cell")
    if not cells:
        return (WantedCell(memory_kib=_memory_kib(domain), mode=mode, nodes=nodes),)
    found = []
    for cell in cells:
        own = bound.get(cell.get("id"))
        kib = int(int(cell.get("memory", "0")) * _KIB[cell.get("unit", "KiB")])
        if own is None:
            found.append(WantedCell(memory_kib=kib, mode=mode, nodes=nodes))
        else:
            own_nodes = NodeSet.parse(own.get("nodeset", ""))
            found.append(WantedCell(memory_kib=kib, mode=own.get("mode", "strict"), nodes=own_nodes))
    return tuple(found)


def _from_xen(domain: Element) -> Wanted:
    """libvirt's Xen driver 9.0: only `<vcpupin>` binds; `<vcpu cpuset>` and `<numatune>` are ignored."""
    if domain.find("cpu/numa/cell") is not None:
        raise SimError(1, "libxenlight failed to create new domain: vNUMA is not supported")
    common, pins = _common(domain), _pins(domain)
    cpuset = _cpus(domain.find("vcpu"))
    return Wanted(
        **{**common, "page_kib": 4},
        cells=(WantedCell(memory_kib=_memory_kib(domain), mode="local", nodes=NodeSet()),),
        declared_cpus=CpuSet.union(pins.values()) if pins else cpuset,
        affinity=pins,
        emulator_cpus=None,
        start_cpus=None,
        automatic=not pins,
    )


def _from_xl(text: str) -> Wanted:
    """xl 4.17: a *list* of pins turns automatic placement off, a string does not."""
    strings = {m[1]: next(g for g in m.groups()[1:] if g is not None) for m in _XL_STRING.finditer(text)}
    lists = {m[1]: re.findall(r"[\"']([^\"']*)[\"']", m[2]) for m in _XL_LIST.finditer(text)}
    if "vnuma" in lists:
        raise SimError(1, "xc_domain_getvnuma failed: No buffer space available")
    vcpus = int(strings.get("maxvcpus", strings.get("vcpus", "1")))
    listed = lists.get("cpus", [])
    affinity = {v: CpuSet.parse(t) for v, t in enumerate(listed[:vcpus])}
    if "cpus" in strings:
        affinity = dict.fromkeys(range(vcpus), CpuSet.parse(strings["cpus"]))
    mark = _XL_MARK.search(text)
    return Wanted(
        name=strings.get("name", ""),
        uuid=strings.get("uuid", ""),
        vcpus=vcpus,
        page_kib=4,
        cells=(WantedCell(memory_kib=int(strings.get("memory", "0")) * 1024, mode="local", nodes=NodeSet()),),
        declared_cpus=CpuSet.union(affinity.values()) if affinity else None,
        affinity=affinity,
        emulator_cpus=None,
        start_cpus=None,
        automatic=not listed,
        ledger=mark[1] if mark else None,
        claim=mark[2] if mark else None,
    )


def _common(domain: Element) -> dict[str, Any]:
    name, uuid = domain.findtext("name", ""), domain.findtext("uuid", "")
    if domain.tag != "domain" or not name or not uuid:
        raise SimError(27, "XML error: expected a <domain> with <name> and <uuid>")
    ledger, claim = read_mark(domain)
    page = domain.find("memoryBacking/hugepages/page")
    page_kib = 4 if page is None else int(int(page.get("size", "0")) * _KIB[page.get("unit", "KiB")])
    return {
        "name": name,
        "uuid": uuid,
        "vcpus": int(domain.findtext("vcpu", "1")),
        "page_kib": page_kib,
        "ledger": ledger,
        "claim": claim,
    }


def _memory_kib(domain: Element) -> int:
    memory = domain.find("memory")
    if memory is None or not (memory.text or "").strip().isdecimal():
        raise SimError(27, "XML error: expected <memory>")
    return int(int((memory.text or "").strip()) * _KIB[memory.get("unit", "KiB")])


def _pins(domain: Element) -> dict[int, CpuSet]:
    return {int(p.get("vcpu", "0")): CpuSet.parse(p.get("cpuset", "")) for p in domain.iterfind("cputune/vcpupin")}


def _cpus(element: Element | None) -> CpuSet | None:
    text = None if element is None else element.get("cpuset")
    return None if text is None else CpuSet.parse(text)
