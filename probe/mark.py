"""Our mark in a definition: whose books the domain is in, and under which claim.

libvirt keeps it in `<metadata>`. xl keeps no metadata, so it is a comment line of the xl.cfg, which
lies on the host as UUID.cfg in a folder of ours.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

NUMAPLACE_XMLNS = "https://numaplace.dev/xmlns/domain/1"
"""Namespace of the mark; it names nothing on the network."""


MARK_PREFIX = "numaplace"
"""Prefix of that namespace in a domain's XML; libvirt calls it the key."""


def read_mark(domain: Element) -> tuple[str | None, str | None]:
    """(ledger id, claim id) of a `<domain>`; None where it does not bear our mark."""
    mark = domain.find(f"metadata/{{{NUMAPLACE_XMLNS}}}guest")
    return (None, None) if mark is None else (mark.get("ledger"), mark.get("claim"))


XL_DEFINITIONS = "/var/lib/numaplace/xl"
"""Where xl's definitions are kept on a host: UUID.cfg, readable by root only."""

XL_MARK = re.compile(r"^# numaplace ledger=(\S+) claim=(\S+)\n", re.MULTILINE)


def read_xl_mark(text: str) -> tuple[str | None, str | None]:
    """(ledger id, claim id) of our comment line in an xl.cfg; None where there is none."""
    match = XL_MARK.search(text)
    return (None, None) if match is None else (match[1], match[2])
