"""The size of guest that a template states."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from probe.safe_xml import parse_xml
from probe.sources.libvirt_xml import size_kib
from scheduler.definitions.template import is_xml
from scheduler.definitions.xl_cfg import last_values, parse_xl_cfg
from scheduler.files.fleet_file import TemplateDefaults


def template_size(text: str, path: str) -> TemplateDefaults:
    """vCPUs, memory and page size of a template; None where it says nothing, or a variable stands there.

    Raises:
        SourceMalformedError, TemplateInvalidError: it cannot be read.
    """
    if not is_xml(text):
        values = last_values(parse_xl_cfg(text, origin=path))
        vcpus, mib = values.get("maxvcpus", values.get("vcpus")), values.get("memory")
        return TemplateDefaults(
            vcpus=vcpus if isinstance(vcpus, int) else None,
            memory_kib=mib * 1024 if isinstance(mib, int) else None,
        )
    domain = parse_xml(text, origin=path)
    vcpu, memory = (domain.findtext("vcpu") or "").strip(), domain.find("memory")
    page = domain.find("memoryBacking/hugepages/page")
    return TemplateDefaults(
        vcpus=int(vcpu) if vcpu.isascii() and vcpu.isdecimal() and len(vcpu) < 6 else None,
        memory_kib=None if memory is None else _told_kib(memory, memory.text, path),
        page_kib=None if page is None else _told_kib(page, page.get("size"), path),
    )


def _told_kib(element: Element, text: str | None, path: str) -> int | None:
    """None where a variable stands."""
    if "{" in (text or ""):
        return None
    return size_kib(text, element.get("unit"), origin=path, what=f"<{element.tag}>")
