"""Where Xen's pages are: the dump of `xl debug-keys u`, found in the text of `xl dmesg`. Pure.

Xen prints it into its console ring (`dump_numa`, xen/arch/x86/numa.c and xen/common/numa.c), which
keeps the newest text only. A dump counts when it is whole: its first line is there, and each domain
has a line for every node. Lines of others may stand between; each of ours begins with "(XEN)". What
guests print is marked "(d5)" there, so no guest can speak of another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

PAGE_KIB = 4
"""Xen counts x86 pages of 4 KiB, whatever size it maps them in."""

_XEN = re.compile(r"\(XEN\) (?:\[[^\]]*\] )?(?P<said>.*)", re.ASCII)
"""`console_timestamps=` puts a time in brackets behind the prefix."""
_BEGIN = re.compile(r"'u' pressed -> dumping numa info")
_NODE = re.compile(r"(?:idx\d+ -> )?NODE(?P<node>\d{1,4}) start->.*", re.ASCII)
_LOCATIONS = "Memory location of each domain:"
_DOMAIN = re.compile(r"(?:Domain |d)(?P<id>\d{1,5}) \(total: \d+\):", re.ASCII)
"""Newer ones print `%pd`: "d5"."""
_PAGES = re.compile(r"    Node (?P<node>\d{1,4}): (?P<pages>\d+)", re.ASCII)


def parse_pages(ring: str) -> Mapping[int, Mapping[int, int]] | None:
    """Domain id to node id to KiB, from the last whole dump; None where there is none.

    A domain that is not in it was created later, or its lines were not printed yet.
    """
    said = [match["said"] for line in ring.split("\n")[:-1] if (match := _XEN.fullmatch(line.rstrip("\r")))]
    begins = [at for at, text in enumerate(said) if _BEGIN.match(text)]
    dumps = (_whole_dump(said[begin:end]) for end, begin in pairwise([len(said), *reversed(begins)]))
    return next((dump for dump in dumps if dump is not None), None)


def _whole_dump(lines: Sequence[str]) -> Mapping[int, Mapping[int, int]] | None:
    if _LOCATIONS not in lines:
        return None
    cut = lines.index(_LOCATIONS)
    nodes = {int(match["node"]) for text in lines[:cut] if (match := _NODE.fullmatch(text))}
    domains: dict[int, dict[int, int]] = {}
    current: dict[int, int] = {}
    for text in lines[cut:]:
        if match := _DOMAIN.fullmatch(text):
            current = domains.setdefault(int(match["id"]), {})
        elif match := _PAGES.fullmatch(text):
            current[int(match["node"])] = int(match["pages"]) * PAGE_KIB
    is_whole = bool(nodes and domains) and all(pages.keys() == nodes for pages in domains.values())
    return domains if is_whole else None
