"""A placement merged into a libvirt domain XML, for KVM and for Xen.

What binds (measured; design.md, "What each hypervisor needs at creation"): on KVM `<vcpu cpuset>`
with `<cputune>` and `<numatune>`; on Xen `<vcpupin>` for every vCPU and nothing else, because the
driver ignores `<vcpu cpuset>` and `<numatune>` and then places the guest itself.
"""

from __future__ import annotations

from dataclasses import replace

from policies.plan import MemoryMode, PlacedCell, Placement
from probe.mark import NUMAPLACE_XMLNS
from probe.sources.libvirt_xml import size_kib
from probe.topology import HostTopology
from scheduler.definitions.errors import DefinitionConflictError
from scheduler.definitions.identity import Identity
from scheduler.definitions.spans import Edit, Span, append_inside, apply_edits, element, index_xml, remove
from scheduler.definitions.template import Template, escaped_xml, filled
from scheduler.executors.port import DefinitionKind

_PINS = ("vcpupin", "emulatorpin")
_NUMATUNE_MODES = {
    MemoryMode.STRICT: "strict",
    MemoryMode.RESTRICTIVE: "restrictive",
    MemoryMode.PREFERRED: "preferred",
    MemoryMode.INTERLEAVE: "interleave",
}


def merged_xml(
    template: Template,
    placement: Placement,
    identity: Identity | None,
    kind: DefinitionKind,
    topology: HostTopology | None = None,
) -> str:
    """The template with name, uuid, our mark, size and placement in it, the rest byte for byte.

    `topology` gives the guest cells their distances; without it they have none.

    Raises:
        DefinitionConflictError: the template places the guest itself, or has another size.
        TemplateInvalidError: it has an unknown variable.
        SourceMalformedError: it is no XML that we read.
    """
    bare = template if identity is None else _without_literal_macs(template)
    text = filled(bare, placement.guest, escaped_xml)
    root = index_xml(text, origin=template.origin)
    if root.tag != "domain":
        raise DefinitionConflictError(f"{template.origin}: expected a <domain>, got <{root.tag}>.")
    merge = _Merge(text, root, template, placement, kind)
    merge.name()
    if identity is not None:
        merge.identity(identity)
    merge.size()
    merge.cpus()
    if kind is DefinitionKind.KVM_XML:
        merge.memory(topology)
    return apply_edits(text, merge.edits)


class _Merge:
    """The edits of one merge. Each method answers for one part of the domain."""

    def __init__(self, text: str, root: Span, template: Template, placement: Placement, kind: DefinitionKind) -> None:
        self.text, self.root, self.template, self.placement, self.kind = text, root, template, placement, kind
        self.edits: list[Edit] = []

    def name(self) -> None:
        old = self.root.child("name")
        if old is None or old.text.strip() != escaped_xml(self.placement.guest):
            self._put("name", element("name", {}, escaped_xml(self.placement.guest)))

    def identity(self, identity: Identity) -> None:
        self._put("uuid", element("uuid", {}, identity.uuid))
        mark = (
            f'<numaplace:guest xmlns:numaplace="{NUMAPLACE_XMLNS}"'
            f' ledger="{identity.ledger}" claim="{identity.claim}"/>'
        )
        metadata = self.root.child("metadata")
        if metadata is None:
            self._append(element("metadata", {}, mark))
            return
        for old in metadata.children:
            if old.tag.endswith(":guest") and NUMAPLACE_XMLNS in old.attributes.values():
                self.edits.append(remove_plain(old))
        self.edits.append(append_inside(metadata, mark))

    def size(self) -> None:
        """Memory and vCPUs: as in the template, which must say the same as the plan."""
        wanted_kib = sum(m.kib for cell in self.placement.cells for m in cell.memory)
        memory = self.root.child("memory")
        if memory is None:
            self._append(element("memory", {"unit": "KiB"}, str(wanted_kib)))
        elif (told := self._told_kib(memory)) != wanted_kib:
            raise self._conflict(f"<memory> says {told} KiB and the plan {wanted_kib} KiB")
        vcpus = sum(len(cell.vcpus) for cell in self.placement.cells)
        vcpu = self.root.child("vcpu")
        if vcpu is not None and vcpu.text.strip() != str(vcpus):
            raise self._conflict(f"<vcpu> says {vcpu.text.strip()!r} and the plan {vcpus}")
        if vcpu is not None and ("cpuset" in vcpu.attributes or vcpu.attributes.get("placement") == "auto"):
            self._may_replace("<vcpu cpuset> or placement='auto'")
        attributes = {k: v for k, v in (vcpu.attributes if vcpu else {}).items() if k not in ("placement", "cpuset")}
        ours: dict[str, object] = {"placement": "static"}
        if self.placement.cpus is not None and self.kind is DefinitionKind.KVM_XML:
            ours["cpuset"] = self.placement.cpus
        self._put("vcpu", element("vcpu", {**ours, **attributes}, str(vcpus)))

    def _told_kib(self, memory: Span) -> int:
        return size_kib(memory.text, memory.attributes.get("unit"), origin=self.template.origin, what="<memory>")

    def cpus(self) -> None:
        pins = [
            element("vcpupin", {"vcpu": vcpu, "cpuset": cpus})
            for cell in self.placement.cells
            for vcpu, cpus in sorted(cell.pins.items())
        ]
        if self.placement.emulator_cpus is not None and self.kind is DefinitionKind.KVM_XML:
            pins.append(element("emulatorpin", {"cpuset": self.placement.emulator_cpus}))
        tune = self.root.child("cputune")
        for old in tune.children if tune else ():
            if old.tag in _PINS:
                self._may_replace(f"<cputune><{old.tag}>")
                self.edits.append(remove_plain(old))
        if pins and tune is not None:
            self.edits.append(append_inside(tune, "".join(pins)))
        elif pins:
            self._append(element("cputune", {}, "".join(pins)))

    def memory(self, topology: HostTopology | None) -> None:
        cells = self.placement.cells
        old = self.root.child("numatune")
        if old is not None:
            self._may_replace("<numatune>")
            self.edits.append(remove(self.text, old))
        if all(cell.memory_mode in _NUMATUNE_MODES for cell in cells):
            self._append(_numatune(cells))
        self._guest_cells(cells, topology)
        self._hugepages(cells[0].memory[0].page_kib)

    def _guest_cells(self, cells: tuple[PlacedCell, ...], topology: HostTopology | None) -> None:
        cpu = self.root.child("cpu")
        old = cpu.child("numa") if cpu else None
        if len(cells) == 1:
            if old is not None and len(old.children) != 1:
                raise self._conflict(f"<cpu><numa> has {len(old.children)} cells and the plan one")
            return
        numa = _guest_numa(cells, topology)
        if cpu is None:
            self._append(element("cpu", {}, numa))
        elif old is not None:
            self._may_replace("<cpu><numa>")
            self.edits.append(Edit(old.start, old.end, numa))
        else:
            self.edits.append(append_inside(cpu, numa))

    def _hugepages(self, page_kib: int) -> None:
        pages = element("hugepages", {}, element("page", {"size": page_kib, "unit": "KiB"}))
        backing = self.root.child("memoryBacking")
        old = backing.child("hugepages") if backing else None
        if page_kib == 4:
            if old is not None:
                raise self._conflict("<hugepages> asks for huge pages and the plan has none")
            return
        if old is not None:
            self.edits.append(Edit(old.start, old.end, pages))
        elif backing is not None:
            self.edits.append(append_inside(backing, pages))
        else:
            self._append(element("memoryBacking", {}, pages))

    def _put(self, tag: str, xml: str) -> None:
        old = self.root.child(tag)
        if old is None:
            self._append(xml)
        else:
            self.edits.append(Edit(old.start, old.end, xml))

    def _append(self, xml: str) -> None:
        self.edits.append(append_inside(self.root, f"  {xml}\n"))

    def _may_replace(self, what: str) -> None:
        if not self.template.replace_pins:
            raise self._conflict(f"the template places the guest itself by {what}")

    def _conflict(self, why: str) -> DefinitionConflictError:
        return DefinitionConflictError(
            f"{self.template.origin}: guest {self.placement.guest}: {why}.",
            advice="Maybe take it out of the template, or give up its pins: `replace_pins: true`, --replace-pins.",
        )


def remove_plain(span: Span) -> Edit:
    """Take an element out and leave the white space around it."""
    return Edit(span.start, span.end, "")


def _numatune(cells: tuple[PlacedCell, ...]) -> str:
    nodes = ",".join(str(n) for n in sorted({n for cell in cells for n in cell.memory_nodes}))
    mode = _NUMATUNE_MODES[cells[0].memory_mode]
    inner = element("memory", {"mode": mode, "nodeset": nodes})
    if len(cells) > 1:
        inner += "".join(
            element(
                "memnode",
                {"cellid": c.cell, "mode": _NUMATUNE_MODES[c.memory_mode], "nodeset": c.memory_nodes},
            )
            for c in cells
        )
    return element("numatune", {}, inner)


def _guest_numa(cells: tuple[PlacedCell, ...], topology: HostTopology | None) -> str:
    return element("numa", {}, "".join(_guest_cell(cell, cells, topology) for cell in cells))


def _guest_cell(cell: PlacedCell, cells: tuple[PlacedCell, ...], topology: HostTopology | None) -> str:
    """One guest cell; the guest sees the distances of the nodes that its memory is on."""
    attributes = {
        "id": cell.cell,
        "cpus": cell.vcpus,
        "memory": sum(m.kib for m in cell.memory),
        "unit": "KiB",
    }
    if topology is None:
        return element("cell", attributes)
    home = min(cell.memory_nodes)
    siblings = "".join(
        element("sibling", {"id": other.cell, "value": topology.distance(home, min(other.memory_nodes))})
        for other in cells
    )
    return element("cell", attributes, element("distances", {}, siblings))


def _without_literal_macs(template: Template) -> Template:
    """A MAC that is written out would be every guest's; libvirt makes one. One with a variable stays."""
    root = index_xml(template.text, origin=template.origin)
    edits = [
        remove(template.text, span)
        for interface in root.walk()
        if interface.tag == "interface"
        for span in interface.children
        if span.tag == "mac" and "{" not in span.attributes.get("address", "")
    ]
    return replace(template, text=apply_edits(template.text, edits))
