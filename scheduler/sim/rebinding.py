"""A definition of the embedded hypervisor with other pins, or other nodes, as after a live change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from probe.cpuset import CpuSet, NodeSet
from probe.safe_xml import parse_xml

_XL_PINS = re.compile(r"^\s*cpus(?:_soft)?\s*=.*\n?", re.MULTILINE)


def with_pins(text: str, pins: Mapping[int, CpuSet], emulator: CpuSet | None) -> str:
    """The definition with these pins of vCPUs, those of others kept; None: the emulator's are kept."""
    if not text.lstrip().startswith("<"):
        listed = ", ".join(f'"{pins[vcpu]}"' for vcpu in sorted(pins))
        return f"{_XL_PINS.sub('', text)}cpus = [{listed}]\n"
    domain = parse_xml(text, origin="definition")
    tune = _child(domain, "cputune")
    for old in tune.findall("vcpupin"):
        if int(old.get("vcpu", "-1")) in pins:
            tune.remove(old)
    for vcpu, cpus in pins.items():
        ET.SubElement(tune, "vcpupin", vcpu=str(vcpu), cpuset=str(cpus))
    if emulator is not None:
        _child(tune, "emulatorpin").set("cpuset", str(emulator))
    return ET.tostring(domain, encoding="unicode")


def with_nodes(text: str, nodes: NodeSet) -> str:
    """The domain XML with these nodes for its memory; without a mode it becomes `strict` (measured)."""
    domain = parse_xml(text, origin="definition")
    policy = _child(_child(domain, "numatune"), "memory")
    policy.set("nodeset", str(nodes))
    policy.set("mode", policy.get("mode", "strict"))
    return ET.tostring(domain, encoding="unicode")


def _child(parent: Element, tag: str) -> Element:
    found = parent.find(tag)
    return ET.SubElement(parent, tag) if found is None else found
