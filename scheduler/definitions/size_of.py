"""The size of guest that a template states."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from probe.cpuset import MAX_ID
from probe.errors import SourceMalformedError
from probe.safe_xml import parse_xml
from probe.sources.libvirt_xml import MAX_KIB, number, size_kib
from scheduler.definitions import xl_grammar
from scheduler.definitions.guest_size import rounded_to_mib
from scheduler.definitions.template import TEMPLATE_LIMITS, is_xml
from scheduler.files.fleet_file import TemplateDefaults


def template_size(text: str, path: str) -> TemplateDefaults:
    """vCPUs, memory and page size of a template; None where it says nothing, or a variable stands there.

    Raises:
        SourceMalformedError: it cannot be read, or what it says is no size.
    """
    return _size_of_xml(text, path) if is_xml(text) else _size_of_xl(text, path)


def _size_of_xl(text: str, path: str) -> TemplateDefaults:
    values = xl_grammar.last_values(xl_grammar.parse_xl_cfg(text, origin=path, unfilled=True), origin=path)
    vcpus = values.get("maxvcpus", values.get("vcpus"))
    mib = _xl_number(values.get("memory"), path, "memory", largest=MAX_KIB // 1024)
    return TemplateDefaults(
        vcpus=_xl_number(vcpus, path, "vcpus", largest=MAX_ID), memory_kib=None if mib is None else mib * 1024
    )


def _xl_number(value: xl_grammar.Value | None, path: str, key: str, *, largest: int) -> int | None:
    if value is None or "{" in value:
        return None
    found = xl_grammar.number(value)
    if found is None or not 0 < found <= largest:
        raise SourceMalformedError(f"{path}: {key}", f"a number from 1 to {largest}", value)
    return found


def _size_of_xml(text: str, path: str) -> TemplateDefaults:
    domain = parse_xml(text, origin=path, limits=TEMPLATE_LIMITS)
    if domain.tag != "domain":
        raise SourceMalformedError(path, "a <domain> in no namespace, or an xl.cfg", f"<{domain.tag}>")
    vcpu, memory = domain.findtext("vcpu"), domain.find("memory")
    told = None if memory is None else _told_kib(memory, memory.text, path)
    page = domain.find("memoryBacking/hugepages/page")
    return TemplateDefaults(
        vcpus=None if vcpu is None or "{" in vcpu else number(vcpu, origin=path, what="<vcpu>", largest=MAX_ID),
        memory_kib=None if told is None else rounded_to_mib(told),
        page_kib=None if page is None else _told_kib(page, page.get("size"), path),
    )


def _told_kib(element: Element, text: str | None, path: str) -> int | None:
    """None where a variable stands."""
    if "{" in (text or ""):
        return None
    return size_kib(text, element.get("unit"), origin=path, what=f"<{element.tag}>")
