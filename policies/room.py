"""What one host has left in a book: by node, and for all homes at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from policies.candidates import Kind, Part, memory_of, part_of
from policies.capacity import HostCapacity
from policies.fleet import Counts
from policies.homes import has_own_pcpus, homes_for
from policies.matching import bits
from policies.open_fleet import OpenFleet
from policies.request import GuestRequest
from policies.usage import shared_lost

Mask = npt.NDArray[np.bool_]


class Room:
    """What one host has left in a book, looked up by node."""

    def __init__(self, book: OpenFleet, host: HostCapacity) -> None:
        self.book, self.host = book, host
        rows = book.fleet.rows(host.name)
        self.row_of: Mapping[int, int] = {n.node_id: row for n, row in zip(host.nodes, rows, strict=True)}

    def holds(self, part: Part) -> bool:
        """Whether the nodes of one part hold it. Necessary, not sufficient: `OpenFleet.fits` decides."""
        cpus = not (self.own_short(part) or self.cores_short(part) or self.shared_short(part))
        return cpus and all(self.memory_kib(part, page) >= kib for page, kib in part.memory_kib.items())

    def vcpus(self, request: GuestRequest, part: Part) -> int:
        """pCPUs that the part's node still has for the vCPUs of such a guest; those to own where it owns any."""
        row = self.row_of[part.home.cpu_node]
        if has_own_pcpus(request):
            return int(self.book.own_room[row])
        return min(int(self.book.shared_room[row]), int(self.book.shared_cpus[row]))

    def own_short(self, part: Part) -> int:
        """Free pCPUs that the part's node would have to have more; 0 for none."""
        return max(0, part.pcpus - int(self.book.free_cpus[self.row_of[part.home.cpu_node]]))

    def shared_short(self, part: Part) -> int:
        """Shared pCPUs that the part's node would have to have more, beside those that the part takes; 0 for none."""
        if not part.floating:
            return 0
        row = self.row_of[part.home.cpu_node]
        left = int(self.book.shared_cpus[row]) - (self._shared_lost(part) if part.pcpus else 0)
        within = math.ceil((int(self.book.shared_vcpus[row]) + part.floating) / self.host.overcommit)
        return max(0, part.floating - left, within - left)

    def _shared_lost(self, part: Part) -> int:
        """The fewest shared pCPUs among those that the part makes its own, as far as there are enough."""
        host = self.book.host(self.host.name)
        node = host.node(part.home.cpu_node)
        pcpus = min(part.pcpus, len(node.free_cpus))
        return shared_lost(host, node, pcpus=pcpus, cores=part.cores)

    def cores_short(self, part: Part) -> int:
        """Whole cores that the part's node would have to have more; 0 for none."""
        return max(0, part.cores - int(self.book.whole_cores[self.row_of[part.home.cpu_node]])) if part.cores else 0

    def memory_kib(self, part: Part, page_kib: int) -> int:
        """What the part's memory node has left in such pages."""
        return self.memory_left_kib(part.home.memory_node, page_kib)

    def memory_left_kib(self, node_id: int, page_kib: int) -> int:
        """What a node has left in such pages."""
        left = self.book.memory_kib.get(page_kib)
        return 0 if left is None else int(left[self.row_of[node_id]])

    def able(self, request: GuestRequest, kinds: Sequence[Kind]) -> list[int]:
        """For each part, the set (`policies.matching.bits`) of homes, by their place in `homes_for`, that hold it."""
        there = homes_for(request, self.host)
        rows = [self.row_of[home.cpu_node] for home in there]
        shared = np.minimum(self.book.shared_room[rows], self.book.shared_cpus[rows])
        needs = {kind: memory_of(request, kind) for kind in dict.fromkeys(kinds)}
        pages = dict.fromkeys(itertools.chain.from_iterable(needs.values()))
        memory = {page: self.memory_of_homes(request, page) for page in pages}
        known: dict[Kind, int] = {}
        for kind, need in needs.items():
            holds = (self.book.own_room[rows] >= kind.pcpus) & (shared >= kind.floating)
            if kind.cores:
                holds &= self.book.whole_cores[rows] >= kind.cores
            if kind.pcpus and kind.floating:
                parts = [part_of(request, home, kind) for home in there]
                holds &= np.array([not self.shared_short(part) for part in parts], dtype=np.bool_)
            for page, kib in need.items():
                holds &= memory[page] >= kib
            known[kind] = bits(np.flatnonzero(holds).tolist())
        return [known[kind] for kind in kinds]

    def vcpus_of_homes(self, request: GuestRequest) -> Counts:
        """As `vcpus`, for each home that the guest may have."""
        rows = [self.row_of[home.cpu_node] for home in homes_for(request, self.host)]
        if has_own_pcpus(request):
            return self.book.own_room[rows]
        return np.minimum(self.book.shared_room[rows], self.book.shared_cpus[rows])

    def memory_of_homes(self, request: GuestRequest, page_kib: int) -> Counts:
        """As `memory_kib`, for each home that the guest may have."""
        rows = [self.row_of[home.memory_node] for home in homes_for(request, self.host)]
        left = self.book.memory_kib.get(page_kib)
        return np.zeros(len(rows), dtype=np.int64) if left is None else left[rows]
