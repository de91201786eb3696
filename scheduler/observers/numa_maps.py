"""Mappings of a process: `/proc/PID/maps` (sizes) joined with `/proc/PID/numa_maps` (policies, pages).

Formats: kernel, Documentation/filesystems/proc.rst; policies as `mpol_to_str` in mm/mempolicy.c
writes them. A blank in a file's name is written as `\\040`, so no word is a part of a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from probe.cpuset import NodeSet
from probe.errors import SourceMalformedError

_RANGE = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16}) \S(\S)\S\S .*", re.ASCII)
_POLICY = re.compile(
    r"([0-9a-f]{1,16}) (default|local|prefer(?: \(many\))?|bind|(?:weighted )?interleave)"
    r"(?:=[a-z|]+)?(?::([0-9,-]+))?(?: (.*))?",
    re.ASCII,
)
_PAGES = re.compile(r"N(\d{1,9})=(\d{1,15})", re.ASCII)
_PAGE_SIZE = re.compile(r"kernelpagesize_kB=(\d{1,9})", re.ASCII)
_BINDING = frozenset({"bind", "interleave", "weighted interleave"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """One line of `numa_maps`.

    Attributes:
        bound_nodes: nodes that the policy allows ("bind", "interleave"); None where it allows all
            ("default", "local") or only prefers ("prefer").
        resident_kib: node id to KiB that are there.
        page_kib: size of its pages in the host; None while nothing is resident.
    """

    bound_nodes: NodeSet | None
    resident_kib: Mapping[int, int]
    page_kib: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMapping:
    """A writable mapping of a process; `start` is its address."""

    start: int
    size_kib: int
    pages: Pages

    @property
    def end(self) -> int:
        return self.start + self.size_kib * 1024


def parse_mappings(maps: str, numa_maps: str, *, origin: str) -> tuple[MemoryMapping, ...]:
    """The writable mappings by address. One that only one of the files has came or went meanwhile.

    Raises:
        SourceMalformedError: a line is of another form.
    """
    pages = parse_numa_maps(numa_maps, origin=f"{origin}/numa_maps")
    sizes = _parse_sizes(maps, origin=f"{origin}/maps")
    return tuple(
        MemoryMapping(start=start, size_kib=size_kib, pages=pages[start])
        for start, size_kib in sorted(sizes.items())
        if start in pages
    )


def parse_numa_maps(text: str, *, origin: str) -> dict[int, Pages]:
    """Address of each mapping to its policy and pages.

    Raises:
        SourceMalformedError: a line is of another form.
    """
    found = {}
    for line in filter(None, text.split("\n")):
        match = _POLICY.fullmatch(line)
        if match is None:
            raise SourceMalformedError(origin, "ADDRESS POLICY …", line)
        try:
            bound = NodeSet.parse(match[3]) if match[3] and match[2] in _BINDING else None
        except ValueError as error:
            raise SourceMalformedError(origin, "a policy with its nodes", line) from error
        found[int(match[1], 16)] = _pages(bound, (match[4] or "").split(" "), line, origin)
    return found


def _pages(bound: NodeSet | None, words: list[str], line: str, origin: str) -> Pages:
    counts: Counter[int] = Counter()
    page_kib = None
    for word in words:
        if match := _PAGES.fullmatch(word):
            counts[int(match[1])] += int(match[2])
        elif match := _PAGE_SIZE.fullmatch(word):
            page_kib = int(match[1])
    if counts and not page_kib:
        raise SourceMalformedError(origin, "kernelpagesize_kB with the pages", line)
    resident = {node: pages * (page_kib or 0) for node, pages in sorted(counts.items())}
    return Pages(bound_nodes=bound, resident_kib=resident, page_kib=page_kib)


def _parse_sizes(maps: str, *, origin: str) -> dict[int, int]:
    """Address of each writable mapping to its KiB."""
    sizes = {}
    for line in filter(None, maps.split("\n")):
        match = _RANGE.fullmatch(line)
        start, end = (int(match[1], 16), int(match[2], 16)) if match else (0, 0)
        if match is None or end <= start:
            raise SourceMalformedError(origin, "FIRST-LAST PERMISSIONS …", line)
        if match[3] == "w":
            sizes[start] = (end - start) // 1024
    return sizes
