"""Our mark in a domain's `<metadata>`: whose books it is in, and under which claim."""

from __future__ import annotations

from xml.etree.ElementTree import Element

NUMAPLACE_XMLNS = "https://numaplace.dev/xmlns/domain/1"
"""Namespace of the mark; it names nothing on the network."""


MARK_PREFIX = "numaplace"
"""Prefix of that namespace in a domain's XML; libvirt calls it the key."""


def read_mark(domain: Element) -> tuple[str | None, str | None]:
    """(ledger id, claim id) of a `<domain>`; None where it does not bear our mark."""
    mark = domain.find(f"metadata/{{{NUMAPLACE_XMLNS}}}guest")
    return (None, None) if mark is None else (mark.get("ledger"), mark.get("claim"))
