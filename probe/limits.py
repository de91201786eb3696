"""How much of an untrusted file is read before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """Caps for recorded input; each can be raised by the caller.

    The defaults pass every recording in the data folder and a made-up host of 1,024 nodes and
    4,096 CPUs; research/reliability.md A6 has the attacks that they stop.

    Attributes:
        file_bytes: size of one file, XML document or archive member as read.
        archive_bytes: sum of what an archive's members unpack to.
        archive_members: number of members.
        xml_depth: nesting of elements (CPython's own recursion gives up near 1,000).
        xml_elements: number of elements.
        xml_attributes: attributes of one element.
    """

    file_bytes: int = 64 * 1024**2
    archive_bytes: int = 512 * 1024**2
    archive_members: int = 500_000
    xml_depth: int = 128
    xml_elements: int = 2_000_000
    xml_attributes: int = 64


DEFAULT_LIMITS = ReadLimits()
