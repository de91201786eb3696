"""Small readings that libvirt's capabilities and domain XML share: sizes with units, ids, sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from xml.etree.ElementTree import Element

from probe.cpuset import MAX_ID, CpuSet, NodeSet
from probe.errors import SourceMalformedError

_BYTES_PER_UNIT: Mapping[str, int] = {
    "b": 1,
    "byte": 1,
    "bytes": 1,
    **{f"{letter}{suffix}": 1024**power for power, letter in enumerate("kmgtpe", 1) for suffix in ("", "ib")},
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtpe", 1)},
}
"""`virScaleInteger` (libvirt, src/util/virutil.c): `KB` is 1000 bytes, `K` and `KiB` are 1024."""

MAX_KIB = 2**53
"""Sizes over this (8 EiB) are no sizes of a host; it is also what JSON numbers hold exactly."""

Ids = TypeVar("Ids", CpuSet, NodeSet)


def number(text: str | None, *, origin: str, what: str, largest: int = MAX_KIB) -> int:
    """A decimal number. Raises `SourceMalformedError` for anything else, or over `largest`."""
    digits = (text or "").strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and int(digits) <= largest):
        raise SourceMalformedError(origin, f"{what} as a number up to {largest}", text)
    return int(digits)


def attribute_id(element: Element, name: str, *, origin: str) -> int:
    """A required id, e.g. `<cell id='0'>`."""
    return number(element.get(name), origin=origin, what=f"<{element.tag} {name}=…>", largest=MAX_ID)


def optional_number(element: Element, name: str, *, origin: str) -> int | None:
    """A number that may be absent, e.g. `socket_id`; None also where libvirt wrote -1 or nothing."""
    text = element.get(name)
    if text is None or text.strip() in ("", "-1"):
        return None
    return number(text, origin=origin, what=f"<{element.tag} {name}=…>", largest=2**32)


def size_kib(text: str | None, unit: str | None, *, origin: str, what: str, rounded_up: bool = True) -> int:
    """A size as KiB; without a unit it counts KiB. Rounded up, as libvirt does with memory."""
    count = number(text, origin=origin, what=what)
    factor = _BYTES_PER_UNIT.get((unit or "KiB").strip().lower())
    if factor is None:
        raise SourceMalformedError(origin, f"{what} in a unit that libvirt knows (KiB, MiB, …)", unit)
    kib: int = -(-count * factor // 1024) if rounded_up else count * factor // 1024
    if kib > MAX_KIB:
        raise SourceMalformedError(origin, f"{what} of at most {MAX_KIB} KiB", f"{text} {unit}")
    return kib


def element_size_kib(element: Element, *, origin: str) -> int:
    """`<memory unit='KiB'>8388608</memory>`, `<currentMemory>` and their like."""
    return size_kib(element.text, element.get("unit"), origin=origin, what=f"<{element.tag}>")


def id_set(kind: type[Ids], text: str, *, origin: str, what: str) -> Ids:
    """A set as libvirt writes it: `0-3,^2,8`."""
    try:
        return kind.parse(text)
    except ValueError as error:
        raise SourceMalformedError(origin, f"{what} as a list like 0-3,^2,8", text) from error
