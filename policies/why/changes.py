"""What would make a guest fit beside a plan: each change of a closed list, tried, in the order of what it costs.

Any host; more nodes; `cells: auto`; out of a group; another guest of the plan elsewhere; shared pCPUs; smaller
pages; far memory; more huge pages on a node, of its free memory; less memory; fewer vCPUs; fewer vCPUs and less memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.asking_less import other_requests, smaller_requests
from policies.explain import Rule
from policies.fleet import Fleet
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestName, GuestRequest, HostName
from policies.why.causes import causes
from probe.units import format_kib

MOST_MOVED = 200
"""As many guests of a plan are tried elsewhere."""

_BEFORE_MOVES = ("hosts:", "max_nodes:", "cells:", "groups:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that was tried, and where the guest then goes."""

    text: str
    placement: Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A plan beside which a guest would live.

    Attributes:
        fleet: before the plan.
        placed: all of the plan.
        asked: every guest of the batch.
        rule: where a guest goes on what is left.
    """

    fleet: Fleet
    placed: Sequence[Placement]
    asked: Mapping[GuestName, GuestRequest]
    rule: Rule

    def book(self) -> OpenFleet:
        """With the plan taken."""
        book = self.fleet.open()
        for placement in self.placed:
            book.take(placement)
        return book


def changes(request: GuestRequest, beside: Beside) -> Iterator[Change]:
    """Every change of the list that makes the guest fit; of amounts the least."""
    book = beside.book()
    others = list(_tried(other_requests(request), beside, book))
    yield from (change for change in others if change.text.startswith(_BEFORE_MOVES))
    yield from _moves(request, beside, book)
    yield from (change for change in others if not change.text.startswith(_BEFORE_MOVES))
    yield from _more_pages(request, beside, book)
    yield from _tried(smaller_requests(request, lambda less: beside.rule(less, book) is not None), beside, book)


def _tried(offers: Iterable[tuple[str, GuestRequest]], beside: Beside, book: OpenFleet) -> Iterator[Change]:
    for text, changed in offers:
        placement = beside.rule(changed, book)
        if placement is not None:
            yield Change(text=text, placement=placement)


def _moves(request: GuestRequest, beside: Beside, book: OpenFleet) -> Iterator[Change]:
    """One guest elsewhere, and this one in its place."""
    for placement in beside.placed[:MOST_MOVED]:
        if request.hosts is not None and placement.host not in request.hosts:
            continue
        book.give_back(placement)
        home = beside.rule(replace(request, hosts=frozenset({placement.host})), book)
        moved = None
        if home is not None:
            book.take(home)
            moved = beside.rule(beside.asked[placement.guest], book)
            book.give_back(home)
        book.take(placement)
        if home is not None and moved is not None:
            yield Change(text=f"guest {placement.guest} moved to {where(moved)}", placement=home)


def where(placement: Placement) -> str:
    """ "node 1 of h2", "nodes 0-1 of h2"."""
    nodes = placement.cpu_nodes
    if nodes is None:
        return placement.host
    return f"node{'s' * (len(nodes) > 1)} {nodes} of {placement.host}"


def _more_pages(request: GuestRequest, beside: Beside, book: OpenFleet) -> Iterator[Change]:
    """Where a node lacks nothing but huge pages, and has free memory to make them of."""
    for host in beside.fleet if request.page_kib > 4 else ():
        for cause in causes(request, book, host):
            lacks = [lack for lack in cause.lacks if lack.page_kib == request.page_kib]
            if not lacks or len(lacks) < len(cause.lacks):
                continue
            pages = -(-lacks[0].amount // request.page_kib)
            if book.host(host.name).node(lacks[0].node_id).memory_kib.get(4, 0) < pages * request.page_kib:
                continue
            richer = _with_pages(beside.fleet, host.name, lacks[0].node_id, request.page_kib, pages)
            placement = beside.rule(request, replace(beside, fleet=richer).book())
            if placement is not None:
                size = format_kib(request.page_kib)
                place = f"node {lacks[0].node_id} of {host.name}"
                yield Change(text=f"{pages} more {size} page{'s' * (pages > 1)} on {place}", placement=placement)


def _with_pages(fleet: Fleet, name: HostName, node_id: int, page_kib: int, pages: int) -> Fleet:
    """The fleet with so many more pages on a node, taken from its 4 KiB memory."""
    host = fleet.host(name)
    node = host.node(node_id)
    kib = pages * page_kib
    memory = {**node.memory_kib, 4: node.memory_kib[4] - kib, page_kib: node.memory_kib.get(page_kib, 0) + kib}
    richer = replace(node, memory_kib=memory)
    nodes = tuple(richer if other is node else other for other in host.nodes)
    return Fleet.of([replace(host, nodes=nodes) if other is host else other for other in fleet])
