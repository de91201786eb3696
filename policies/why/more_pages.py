"""More huge pages on a node, made of its free memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from policies.fleet import Fleet
from policies.open_fleet import OpenFleet
from policies.request import GuestRequest, HostName
from policies.shortfall import Lack
from policies.why.beside import Beside
from policies.why.causes import Cause, causes
from probe.units import format_kib


class MorePages(NamedTuple):
    """A node that would have so many more pages; `alone`: it lacks nothing else."""

    host: HostName
    node_id: int
    page_kib: int
    pages: int
    alone: bool

    @property
    def text(self) -> str:
        size, many = format_kib(self.page_kib), "s" * (self.pages > 1)
        return f"{self.pages} more {size} page{many} on node {self.node_id} of {self.host}"

    def given(self, fleet: Fleet) -> Fleet:
        """The fleet with them, taken from the node's 4 KiB memory."""
        host, kib = fleet.host(self.host), self.pages * self.page_kib
        node = host.node(self.node_id)
        had_kib = node.memory_kib.get(self.page_kib, 0)
        memory = {**node.memory_kib, 4: node.memory_kib[4] - kib, self.page_kib: had_kib + kib}
        nodes = tuple(replace(each, memory_kib=memory) if each is node else each for each in host.nodes)
        return Fleet.of([replace(host, nodes=nodes) if each is host else each for each in fleet])


def more_pages(request: GuestRequest, beside: Beside, book: OpenFleet) -> Iterator[MorePages]:
    """For each node that lacks huge pages, among the causes that keep the guest off its host: as many as it lacks.

    Of nodes whose free memory is enough for them.
    """
    for host in beside.fleet if request.page_kib > 4 else ():
        for cause in causes(request, book, host):
            for lack in _of_pages(cause, request):
                pages = -(-lack.amount // request.page_kib)
                free_kib = book.host(host.name).node(lack.node_id).memory_kib.get(4, 0)
                if free_kib >= pages * request.page_kib:
                    alone = len(cause.lacks) == 1
                    yield MorePages(host.name, lack.node_id, request.page_kib, pages, alone)


def _of_pages(cause: Cause, request: GuestRequest) -> list[Lack]:
    return [lack for lack in cause.lacks if lack.page_kib == request.page_kib]
