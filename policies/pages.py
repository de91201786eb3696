"""The largest pages: who wants them gets them where the nodes that it lives on still have the room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from policies.candidates import candidate_of
from policies.compose import Assigned
from policies.fleet import Fleet
from policies.places import counts_of_parts
from policies.request import PAGE_SIZES_KIB, GuestRequest, HostName
from probe.cpuset import NodeId

_Taken = Counter[tuple[HostName, NodeId, int]]
"""KiB by host, node and page size."""


def in_largest_pages(assigned: Sequence[Assigned], fleet: Fleet) -> list[Assigned]:
    """The same homes; of the guests that want the largest pages, in their order, each that can gets larger ones.

    The largest size first: pages that become free then are smaller ones, for the sizes that follow.
    """
    found = list(assigned)
    if not any(choice.request.largest_pages for choice in found):
        return found
    taken: _Taken = Counter()
    for choice in found:
        taken.update(_memory(choice, fleet))
    for page_kib in PAGE_SIZES_KIB[:0:-1]:
        for i, choice in enumerate(found):
            if choice.page_kib < page_kib and _may_have(choice.request, page_kib, choice, fleet):
                larger = replace(choice, page_kib=page_kib)
                before, after = _memory(choice, fleet), _memory(larger, fleet)
                taken.subtract(before)
                if all(taken[place] + kib <= _there(place, fleet) for place, kib in after.items()):
                    found[i] = larger
                taken.update(after if found[i] is larger else before)
    return found


def _may_have(request: GuestRequest, page_kib: int, choice: Assigned, fleet: Fleet) -> bool:
    """Whether the guest, split as it is, may be in such pages."""
    concrete = [one for one in request.by_pages() if one.page_kib == page_kib]
    return any(len(choice.homes) in counts_of_parts(one, fleet.host(choice.host)) for one in concrete)


def _memory(choice: Assigned, fleet: Fleet) -> _Taken:
    taken: _Taken = Counter()
    host = fleet.host(choice.host)
    for part in candidate_of(choice.request.in_pages(choice.page_kib), host, choice.homes).parts:
        for page_kib, kib in part.memory_kib.items():
            taken[choice.host, part.home.memory_node, page_kib] += kib
    return taken


def _there(place: tuple[HostName, NodeId, int], fleet: Fleet) -> int:
    host, node_id, page_kib = place
    return fleet.host(host).node(node_id).memory_kib.get(page_kib, 0)
