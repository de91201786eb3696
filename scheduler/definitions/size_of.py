"""The size of guest that a template states."""

from __future__ import annotations

from probe.safe_xml import parse_xml
from scheduler.definitions.sizes import libvirt_kib
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
    vcpu, memory_text = (domain.findtext("vcpu") or "").strip(), domain.findtext("memory")
    memory = domain.find("memory")
    page = domain.find("memoryBacking/hugepages/page")
    return TemplateDefaults(
        vcpus=int(vcpu) if vcpu.isdecimal() else None,
        memory_kib=None
        if memory is None or "{" in (memory_text or "")
        else libvirt_kib(memory_text or "", memory.get("unit", "KiB")),
        page_kib=None if page is None else libvirt_kib(page.get("size", ""), page.get("unit", "KiB")),
    )
