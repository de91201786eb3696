"""Sizes as libvirt writes them."""

from __future__ import annotations

from scheduler.definitions.errors import TemplateInvalidError

_BYTES = {
    "b": 1, "bytes": 1, "kb": 1000, "k": 1024, "kib": 1024, "mb": 1000**2, "m": 1024**2, "mib": 1024**2,
    "gb": 1000**3, "g": 1024**3, "gib": 1024**3, "tb": 1000**4, "t": 1024**4, "tib": 1024**4,
}  # fmt: skip
"""libvirt, formatdomain, "Memory Allocation": `KB` is 1000 bytes, `K` and `KiB` are 1024."""


def libvirt_kib(text: str, unit: str) -> int:
    """A libvirt size as KiB, rounded up as libvirt does.

    Raises:
        TemplateInvalidError: no number, or an unknown unit.
    """
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()) or unit.lower() not in _BYTES:
        raise TemplateInvalidError(f"expected a size in a unit that libvirt knows, got {digits[:40]!r} {unit!r}.")
    return -(-int(digits) * _BYTES[unit.lower()] // 1024)
