"""What a definition makes its hypervisor do, read back from the text alone.

It says what *happens*, not what the text seems to say: on Xen a string `cpus=`, `<vcpu cpuset>`
and `<numatune>` bind nothing (measured), so a definition with these is read as unpinned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from policies.plan import MemoryMode, Placement
from probe.cpuset import CpuSet, NodeSet
from probe.mark import read_mark, read_xl_mark
from probe.safe_xml import parse_xml
from probe.sources.libvirt_xml import attribute_id, id_set, number, size_kib
from scheduler.definitions import xl_grammar
from scheduler.definitions.guest_size import rounded_to_mib
from scheduler.definitions.iothreads import iothread_ids
from scheduler.executors.port import DefinitionKind, DomainDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCell:
    """One guest cell as the definition binds it; `nodes` empty: its memory is not bound."""

    vcpus: CpuSet
    memory_kib: int
    page_kib: int
    nodes: NodeSet
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """What a definition says. `pins` has an entry for every vCPU that is bound.

    `iothread_cpus` has one for every I/O thread; None: it is not bound by itself.
    """

    guest: str
    uuid: str
    ledger: str | None
    claim: str | None
    pins: Mapping[int, CpuSet] = field(default_factory=dict)
    emulator_cpus: CpuSet | None = None
    iothread_cpus: Mapping[int, CpuSet | None] = field(default_factory=dict)
    cells: tuple[BoundCell, ...] = ()


def parse_back(definition: DomainDefinition) -> Bindings:
    """Read a definition back. Raises `SourceMalformedError` for what is none."""
    if definition.kind is DefinitionKind.XL_CFG:
        return _from_xl(definition)
    origin = f"definition of {definition.guest}"
    domain = parse_xml(definition.text, origin=origin)
    ledger, claim = read_mark(domain)
    kvm = definition.kind is DefinitionKind.KVM_XML
    emulator = domain.find("cputune/emulatorpin")
    return Bindings(
        guest=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", ""),
        ledger=ledger,
        claim=claim,
        pins={attribute_id(p, "vcpu", origin=origin): _cpus(p, origin) for p in domain.iterfind("cputune/vcpupin")},
        emulator_cpus=_cpus(emulator, origin) if emulator is not None and kvm else None,
        iothread_cpus=_iothread_cpus(domain, origin) if kvm else {},
        cells=_cells(domain, origin) if kvm else (_whole(domain, NodeSet(), "affinity", origin),),
    )


def disagreements(placement: Placement, bindings: Bindings) -> tuple[str, ...]:
    """Where a definition says something else than the plan; empty when they say the same."""
    pins = {vcpu: cpus for cell in placement.cells for vcpu, cpus in cell.pins.items()}
    xen = any(cell.mode == MemoryMode.AFFINITY.value for cell in bindings.cells)
    pairs: list[tuple[str, object, object]] = [
        ("name", placement.guest, bindings.guest),
        ("pins", pins, dict(bindings.pins)),
        ("vCPUs", [c.vcpus for c in placement.cells], [c.vcpus for c in bindings.cells]),
        (
            "memory",
            [sum(m.kib for m in c.memory) for c in placement.cells],
            [c.memory_kib for c in bindings.cells],
        ),
    ]
    if not xen:
        planned = [(c.memory_nodes, c.memory_mode.value, c.memory[0].page_kib) for c in placement.cells]
        found = [(c.nodes, c.mode, c.page_kib) for c in bindings.cells]
        io_threads = dict(bindings.iothread_cpus)
        pairs += [
            ("emulator", placement.emulator_cpus, bindings.emulator_cpus),
            ("I/O threads", dict.fromkeys(io_threads, placement.emulator_cpus), io_threads),
            ("nodes", planned, found),
        ]
    return tuple(f"{what}: plan {plan}, definition {text}" for what, plan, text in pairs if plan != text)


def _cpus(pin: Element, origin: str) -> CpuSet:
    return id_set(CpuSet, pin.get("cpuset", ""), origin=origin, what=f"<{pin.tag} cpuset>")


def _iothread_cpus(domain: Element, origin: str) -> dict[int, CpuSet | None]:
    listed = [each.get("id") for each in domain.iterfind("iothreadids/iothread")]
    bound = {
        attribute_id(pin, "iothread", origin=origin): _cpus(pin, origin)
        for pin in domain.iterfind("cputune/iothreadpin")
    }
    return {i: bound.get(i) for i in iothread_ids(domain.findtext("iothreads"), listed, origin=origin)}


def told_cells(domain_xml: str, origin: str) -> tuple[tuple[CpuSet, int], ...]:
    """vCPUs and KiB of each guest cell of a domain XML, by its id.

    Raises:
        SourceMalformedError: a cell does not say which vCPUs and how much memory it has.
    """
    domain = parse_xml(domain_xml, origin=origin)
    return tuple((cell.vcpus, cell.memory_kib) for cell in _guest_cells(domain, NodeSet(), "none", origin))


def _cells(domain: Element, origin: str) -> tuple[BoundCell, ...]:
    memory = domain.find("numatune/memory")
    mode = "none" if memory is None else memory.get("mode", "strict")
    nodes = NodeSet() if memory is None else _nodes(memory, origin)
    return _guest_cells(domain, nodes, mode, origin) or (_whole(domain, nodes, mode, origin),)


def _nodes(policy: Element, origin: str) -> NodeSet:
    return id_set(NodeSet, policy.get("nodeset", ""), origin=origin, what=f"<{policy.tag} nodeset>")


def _guest_cells(domain: Element, nodes: NodeSet, mode: str, origin: str) -> tuple[BoundCell, ...]:
    """Each `<cpu><numa><cell>`, with the memory devices that are plugged into it."""
    bound = {m.get("cellid"): m for m in domain.iterfind("numatune/memnode")}
    dimm_kib: Counter[str] = Counter()
    for device in domain.iterfind("devices/memory"):
        for size in device.iterfind("target/size"):
            dimm_kib[device.findtext("target/node", "0").strip()] += _size_kib(size.text, size, origin)
    found = {}
    for position, cell in enumerate(domain.iterfind("cpu/numa/cell")):
        own = bound.get(key := cell.get("id", str(position)))
        found[number(key, origin=origin, what="<cell id>")] = BoundCell(
            vcpus=id_set(CpuSet, cell.get("cpus", ""), origin=origin, what="<cell cpus>"),
            memory_kib=rounded_to_mib(_size_kib(cell.get("memory"), cell, origin)) + dimm_kib[key],
            page_kib=_page_kib(domain),
            nodes=nodes if own is None else _nodes(own, origin),
            mode=mode if own is None else own.get("mode", "strict"),
        )
    return tuple(cell for _, cell in sorted(found.items(), key=lambda item: item[0]))


def _whole(domain: Element, nodes: NodeSet, mode: str, origin: str) -> BoundCell:
    memory = domain.find("memory")
    return BoundCell(
        vcpus=CpuSet(
            frozenset(range(number(domain.findtext("vcpu", "1"), origin=origin, what="<vcpu>", largest=2**16)))
        ),
        memory_kib=0 if memory is None else rounded_to_mib(_size_kib(memory.text, memory)),
        page_kib=_page_kib(domain),
        nodes=nodes,
        mode=mode,
    )


def _page_kib(domain: Element) -> int:
    page = domain.find("memoryBacking/hugepages/page")
    return 4 if page is None else _size_kib(page.get("size"), page)


def _size_kib(text: str | None, element: Element, origin: str = "definition") -> int:
    return size_kib(text, element.get("unit"), origin=origin, what=f"<{element.tag}>")


def _from_xl(definition: DomainDefinition) -> Bindings:
    origin = f"definition of {definition.guest}"
    values = xl_grammar.last_values(xl_grammar.parse_xl_cfg(definition.text, origin=origin), origin=origin)
    ledger, claim = read_xl_mark(definition.text)
    vcpus = xl_grammar.number(values.get("maxvcpus", values.get("vcpus", "1"))) or 0
    cpus = values.get("cpus")
    pins = {v: CpuSet.parse(str(text)) for v, text in enumerate(cpus)} if isinstance(cpus, list) else {}
    whole = BoundCell(
        vcpus=CpuSet(frozenset(range(vcpus))),
        memory_kib=(xl_grammar.number(values.get("memory")) or 0) * 1024,
        page_kib=4,
        nodes=NodeSet(),
        mode="affinity",
    )
    return Bindings(
        guest=str(values.get("name", "")),
        uuid=str(values.get("uuid", "")),
        ledger=ledger,
        claim=claim,
        pins=pins,
        cells=(whole,),
    )
