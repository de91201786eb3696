"""A placement merged into a libvirt domain XML, for KVM and for Xen.

What binds (measured; design.md, "What each hypervisor needs at creation"): on KVM `<vcpu cpuset>`
with `<cputune>` and `<numatune>`; on Xen `<vcpupin>` for every vCPU and nothing else, because the
driver ignores `<vcpu cpuset>` and `<numatune>` and then places the guest itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from policies.plan import Placement
from probe.mark import NUMAPLACE_XMLNS
from probe.sources.libvirt_xml import size_kib
from probe.topology import HostTopology
from scheduler.definitions.errors import DefinitionConflictError, TemplateInvalidError
from scheduler.definitions.guest_memory import GuestMemory
from scheduler.definitions.guest_size import memory_mib, rounded_to_mib
from scheduler.definitions.identity import Identity
from scheduler.definitions.iothreads import iothread_ids
from scheduler.definitions.parse_back import told_cells
from scheduler.definitions.spans import Edit, Span, append_inside, apply_edits, element, index_xml, remove
from scheduler.definitions.template import TEMPLATE_LIMITS, Template, conflict, escaped_xml, filled_xml
from scheduler.executors.port import DefinitionKind

_ENCODING = re.compile(r"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)""")
_ATTRIBUTE = re.compile(r"""\s+([^\s=]+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_PINS = ("vcpupin", "emulatorpin", "iothreadpin")
_READ_ONCE = (
    *("name", "uuid", "metadata", "memory", "vcpu", "iothreads", "iothreadids"),
    *("cputune", "numatune", "memoryBacking", "cpu"),
)
"""What we read or write; libvirt reads only the first `<vcpu>`, and every `<cputune>`."""


def merged_xml(
    template: Template,
    placement: Placement,
    identity: Identity | None,
    kind: DefinitionKind,
    topology: HostTopology | None = None,
) -> str:
    """The template with name, uuid, our mark, size and placement in it, every other character as it was.

    `topology` gives the guest cells their distances; without it they have none.

    Raises:
        DefinitionConflictError: the template places the guest itself, has another size, or is for
            another hypervisor.
        TemplateInvalidError: it has an unknown variable, or an element twice that may stand once.
        SourceMalformedError: it is no XML that we read.
    """
    text = filled_xml(template if identity is None else _without_literal_ids(template), placement.guest)
    root = index_xml(text, origin=template.origin, limits=TEMPLATE_LIMITS)
    _check_root(template, placement.guest, text, root, kind)
    merge = _Merge(text, root, template, placement, kind)
    merge.name()
    if identity is not None:
        merge.identity(identity)
    merge.size()
    merge.cpus()
    merge.memory(topology)
    return merge.done()


def _check_root(template: Template, guest: str, text: str, root: Span, kind: DefinitionKind) -> None:
    if root.tag != "domain" or root.namespace:
        raise conflict(template, guest, f"expected a <domain> in no namespace, got <{root.tag}>")
    declared = _ENCODING.match(text)
    if declared is not None and declared[1].lower() not in ("utf-8", "us-ascii", "ascii"):
        raise TemplateInvalidError(
            f"{template.origin}: guest {guest}: expected encoding='UTF-8', got {declared[1]!r}.",
            advice="Maybe convert it, and its first line with it: libvirt reads what that line says.",
        )
    is_xen = root.attributes.get("type") == "xen"
    if "type" in root.attributes and is_xen != (kind is DefinitionKind.XEN_XML):
        raise conflict(template, guest, f"<domain type={root.attributes['type']!r}> on a {kind.value} host")
    for parent, tags in ((root, _READ_ONCE), *((each, ("numa", "hugepages")) for each in root.children)):
        for tag in tags:
            if len(parent.all(tag)) > 1:
                raise TemplateInvalidError(f"{template.origin}: guest {guest}: <{tag}> stands there more than once.")


class _Merge:
    """The edits of one merge. Each method answers for one part of the domain."""

    def __init__(self, text: str, root: Span, template: Template, placement: Placement, kind: DefinitionKind) -> None:
        self.text, self.root, self.template, self.placement, self.kind = text, root, template, placement, kind
        self.edits: list[Edit] = []
        self.appended: list[str] = []

    def done(self) -> str:
        """The text with everything in it."""
        whole = append_inside(self.root, "".join(f"  {xml}\n" for xml in self.appended))
        return apply_edits(self.text, [*self.edits, whole])

    def name(self) -> None:
        old = self.root.child("name")
        if old is None or old.text.strip() != self.placement.guest:
            self._put("name", element("name", {}, escaped_xml(self.placement.guest)))

    def identity(self, identity: Identity) -> None:
        self._put("uuid", element("uuid", {}, identity.uuid))
        mark = (
            f'<numaplace:guest xmlns:numaplace="{NUMAPLACE_XMLNS}"'
            f' ledger="{identity.ledger}" claim="{identity.claim}"/>'
        )
        metadata = self.root.child("metadata")
        if metadata is None:
            self.appended.append(element("metadata", {}, mark))
            return
        self.edits += [_taken_out(old) for old in metadata.children if old.namespace == NUMAPLACE_XMLNS]
        self.edits.append(append_inside(metadata, mark))

    def size(self) -> None:
        """Memory and vCPUs: as in the template, which must say the same as the plan."""
        wanted_kib = memory_mib(self.placement) * 1024
        memory = self.root.child("memory")
        if memory is None:
            self.appended.append(element("memory", {"unit": "KiB"}, str(wanted_kib)))
        elif (told := rounded_to_mib(self._told_kib(memory, memory.text))) != wanted_kib:
            raise self._conflict(f"<memory> says {told} KiB and the plan {wanted_kib} KiB")
        vcpus = sum(len(cell.vcpus) for cell in self.placement.cells)
        vcpu = self.root.child("vcpu")
        if vcpu is not None and vcpu.text.strip() != str(vcpus):
            raise self._conflict(f"<vcpu> says {vcpu.text.strip()[:40]!r} and the plan {vcpus}")
        if vcpu is not None and ("cpuset" in vcpu.attributes or vcpu.attributes.get("placement") == "auto"):
            self._may_replace("<vcpu cpuset> or placement='auto'")
        bound = self.placement.cpus if self.kind is DefinitionKind.KVM_XML else None
        ours = {"placement": "static", **({} if bound is None else {"cpuset": str(bound)})}
        if vcpu is None or vcpu.inner is None:
            self.appended.append(element("vcpu", ours, str(vcpus)))
        else:
            tag = self.text[vcpu.start : vcpu.inner[0]]
            self.edits.append(Edit(vcpu.start, vcpu.inner[0], _with_attributes(tag, ours)))

    def _told_kib(self, span: Span, text: str | None) -> int:
        return size_kib(text, span.attributes.get("unit"), origin=self.template.origin, what=f"<{span.tag}>")

    def cpus(self) -> None:
        pins = [
            element("vcpupin", {"vcpu": vcpu, "cpuset": cpus})
            for cell in self.placement.cells
            for vcpu, cpus in sorted(cell.pins.items())
        ]
        if self.placement.emulator_cpus is not None and self.kind is DefinitionKind.KVM_XML:
            emulator = {"cpuset": self.placement.emulator_cpus}
            pins.append(element("emulatorpin", emulator))
            pins += [element("iothreadpin", {"iothread": each, **emulator}) for each in self._iothreads()]
        tune = self.root.child("cputune")
        for old in tune.children if tune else ():
            if old.tag in _PINS:
                self._may_replace(f"<cputune><{old.tag}>")
                self.edits.append(_taken_out(old))
        if pins and tune is not None:
            self.edits.append(append_inside(tune, "".join(pins)))
        elif pins:
            self.appended.append(element("cputune", {}, "".join(pins)))

    def _iothreads(self) -> tuple[int, ...]:
        count, listed = self.root.child("iothreads"), self.root.child("iothreadids")
        ids = [each.attributes.get("id") for each in listed.all("iothread")] if listed else []
        return iothread_ids(count.text if count else None, ids, origin=self.template.origin)

    def memory(self, topology: HostTopology | None) -> None:
        """Where memory is: on KVM by the plan, on Xen by the pins alone."""
        ours = GuestMemory.of(self.placement, topology) if self.kind is DefinitionKind.KVM_XML else GuestMemory()
        old = self.root.child("numatune")
        if old is not None:
            self._may_replace("<numatune>")
            gone = remove(self.text, old.start, old.end)
            self.edits.append(Edit(old.start, old.end, ours.numatune) if ours.numatune else gone)
        elif ours.numatune:
            self.appended.append(ours.numatune)
        for dimm in _placed_dimms(self.root):
            self._may_replace("<devices><memory> with a <nodemask>")
            self.edits.append(remove(self.text, dimm.start, dimm.end))
        self._guest_cells(ours)
        self._hugepages(ours)

    def _guest_cells(self, ours: GuestMemory) -> None:
        """Guest cells that are the plan's stay as they are."""
        cpu = self.root.child("cpu")
        old = cpu.child("numa") if cpu else None
        if old is not None and ours.cells and ours.cells == told_cells(self.text, self.template.origin):
            return
        if old is not None:
            self._may_replace("<cpu><numa> with cells that are not the plan's")
            self.edits.append(Edit(old.start, old.end, ours.numa))
        elif ours.numa and cpu is not None:
            self.edits.append(append_inside(cpu, ours.numa))
        elif ours.numa:
            self.appended.append(element("cpu", {}, ours.numa))

    def _hugepages(self, ours: GuestMemory) -> None:
        """`<hugepages>` without a size (the host's default one) becomes the plan's size."""
        backing = self.root.child("memoryBacking")
        old = backing.child("hugepages") if backing else None
        if old is not None:
            told = {self._told_kib(page, page.attributes.get("size")) for page in old.all("page")}
            if not ours.hugepages or told - {ours.page_kib}:
                sizes = ", ".join(f"{kib} KiB" for kib in sorted(told)) or "of the host's default size"
                raise self._conflict(f"<hugepages> asks for pages {sizes}, and the plan has {ours.page_kib} KiB")
            if not told or any("nodeset" in page.attributes for page in old.children):
                self.edits.append(Edit(old.start, old.end, ours.hugepages))
        elif ours.hugepages and backing is not None:
            self.edits.append(append_inside(backing, ours.hugepages))
        elif ours.hugepages:
            self.appended.append(element("memoryBacking", {}, ours.hugepages))

    def _put(self, tag: str, xml: str) -> None:
        old = self.root.child(tag)
        if old is None:
            self.appended.append(xml)
        else:
            self.edits.append(Edit(old.start, old.end, xml))

    def _may_replace(self, what: str) -> None:
        if not self.template.replace_pins:
            raise conflict(
                self.template, self.placement.guest, f"the template places the guest itself by {what}", pins=True
            )

    def _conflict(self, why: str) -> DefinitionConflictError:
        return conflict(self.template, self.placement.guest, why)


def _with_attributes(tag: str, ours: Mapping[str, str]) -> str:
    """A start tag with our attributes in the place of those of the same names, the others as they were."""
    kept = _ATTRIBUTE.sub(lambda match: "" if match[1] in ("placement", "cpuset") else match[0], tag)
    return kept[:-1] + "".join(f' {name}="{value}"' for name, value in ours.items()) + ">"


def _taken_out(span: Span) -> Edit:
    """Take an element out and leave the white space around it."""
    return Edit(span.start, span.end, "")


def _placed_dimms(root: Span) -> Iterator[Span]:
    """Each `<nodemask>` that binds a memory device to host nodes."""
    devices = root.child("devices")
    for memory in devices.all("memory") if devices else ():
        for source in memory.all("source"):
            yield from source.all("nodemask")


def _without_literal_ids(template: Template) -> Template:
    """MACs and the SMBIOS uuid that are written out would be every guest's; libvirt makes its own.

    One with a variable stays. libvirt refuses an SMBIOS uuid that is not the domain's.
    """
    root = index_xml(template.text, origin=template.origin, limits=TEMPLATE_LIMITS)
    spans = [
        span
        for parent in root.walk()
        for span in parent.children
        if (parent.tag == "interface" and span.tag == "mac" and "{" not in span.attributes.get("address", ""))
        or (parent.tag == "system" and span.attributes.get("name") == "uuid" and "{" not in span.text)
    ]
    edits = [remove(template.text, span.start, span.end) for span in spans]
    return replace(template, text=apply_edits(template.text, edits))
