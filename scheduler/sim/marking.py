"""The mark in a definition of the embedded hypervisor: set, changed, taken out."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from probe.mark import NUMAPLACE_XMLNS
from probe.safe_xml import parse_xml

_XL_MARK = re.compile(r"^# numaplace ledger=\S+ claim=\S+\n?", re.MULTILINE)
_TAG = f"{{{NUMAPLACE_XMLNS}}}guest"


def with_mark(text: str, mark: tuple[str, str] | None) -> str:
    """The definition with this mark (ledger id, claim id) and no other; None: with none."""
    if not text.lstrip().startswith("<"):
        line = "" if mark is None else f"# numaplace ledger={mark[0]} claim={mark[1]}\n"
        return line + _XL_MARK.sub("", text)
    domain = parse_xml(text, origin="definition")
    metadata = domain.find("metadata")
    if metadata is None:
        metadata = ET.SubElement(domain, "metadata")
    for old in metadata.findall(_TAG):
        metadata.remove(old)
    if mark is not None:
        ET.SubElement(metadata, _TAG, ledger=mark[0], claim=mark[1])
    return ET.tostring(domain, encoding="unicode")
