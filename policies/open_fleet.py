"""The book over a fleet: placements are taken and given back, each in O(nodes of one host).

This is the one mutable value of `policies`. A policy makes it, writes in it, and throws it away;
`policies.fleet` says what fits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from policies.capacity import HostCapacity, NodeCapacity
from policies.cores import whole_cores
from policies.demand import Demand, NodeDemand, demand_of
from policies.errors import DoesNotFitError, NotTakenError
from policies.fleet import Counts, Fleet
from policies.groups import GroupBook
from policies.plan import Placement
from policies.request import GuestName, HostName
from probe.cpuset import CpuSet
from probe.units import format_kib


class OpenFleet:
    """What is left of a fleet while a batch is being placed.

    The arrays have the rows of `fleet` and are kept up to date; read them, do not write to them.

    Attributes:
        free_cpus, shared_cpus, both_cpus, shared_vcpus, shared_room, memory_kib: as in `Fleet`.
        own_room: pCPUs that a guest may still get for its own: the free ones, without the shared ones among them that
            the guests taken need who float there.
        loose_vcpus, loose_memory_kib: per host, what unpinned placements have taken from its sum.
        groups: where the members of each group are.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.free_cpus: Counts = fleet.free_cpus.copy()
        self.shared_cpus: Counts = fleet.shared_cpus.copy()
        self.both_cpus: Counts = fleet.both_cpus.copy()
        self.own_room: Counts = fleet.free_cpus.copy()
        self.shared_vcpus: Counts = fleet.shared_vcpus.copy()
        self.shared_room: Counts = fleet.shared_room.copy()
        self.memory_kib: Mapping[int, Counts] = {p: a.copy() for p, a in fleet.memory_kib.items()}
        self.loose_vcpus: list[int] = [0] * len(fleet)
        self.loose_memory_kib: list[Counter[int]] = [Counter() for _ in fleet.hosts]
        self.groups = GroupBook(fleet)
        self._cpus = [(n.free_cpus.ids, n.shared_cpus.ids) for h in fleet for n in h.nodes]
        self._sharers: dict[int, Counter[int]] = defaultdict(Counter)  # per row, guests by their shared vCPUs there
        self._touched: set[int] = set()  # rows that are perhaps no longer as in the fleet
        self._owners = [int(bool(h.dedicated_cpus)) for h in fleet]  # guests with pCPUs of their own, per host
        self._taken: dict[GuestName, Placement] = {}
        self._demands: dict[GuestName, Demand] = {}  # of those taken
        self._nodes: dict[int, NodeCapacity] = {}  # rows that were asked for since they changed
        self._fits_now: tuple[Placement, Demand] | None = None  # what fitted when it was looked at last
        self._whole_cores: Counts | None = None

    @property
    def taken(self) -> Mapping[GuestName, Placement]:
        """What is taken now, in the order of taking."""
        return dict(self._taken)

    def is_taken(self, guest: GuestName) -> bool:
        """Whether the guest is placed."""
        return guest in self._taken

    def placement_of(self, guest: GuestName) -> Placement | None:
        """What is taken for the guest; None where nothing is."""
        return self._taken.get(guest)

    @property
    def last(self) -> Placement | None:
        """What was taken last, and is not given back."""
        return next(reversed(self._taken.values()), None)

    @property
    def whole_cores(self) -> Counts:
        """Per row the cores that are free as a whole (`cores.whole_cores`); worked out when first asked for."""
        if self._whole_cores is None:
            topologies = [host.topology for host in self.fleet for _ in host.nodes]
            counts = [len(whole_cores(t, free)) for t, (free, _) in zip(topologies, self._cpus, strict=True)]
            self._whole_cores = np.array(counts, dtype=np.int64)
        return self._whole_cores

    def cpus_left(self, row: int) -> tuple[frozenset[int], frozenset[int]]:
        """Of a node: the pCPUs that are free, and those that are shared."""
        return self._cpus[row]

    @cached_property
    def overcommit(self) -> Counts:
        """(rows, 2) numerator and denominator of each row's ratio of shared vCPUs to shared pCPUs."""
        ratios = [(host.overcommit.numerator, host.overcommit.denominator) for host in self.fleet for _ in host.nodes]
        return np.array(ratios, dtype=np.int64).reshape(-1, 2)

    def host(self, name: HostName) -> HostCapacity:
        """What the host has left on its nodes. Raises `KeyError` where there is no such host."""
        return replace(self.fleet.host(name), nodes=tuple(self._nodes_left(name)))

    def take(self, placement: Placement) -> None:
        """Take what the placement needs.

        Raises:
            DoesNotFitError: the host has not got that any more; nothing was taken.
            NotTakenError: its guest is placed already.
            KeyError: no such host.
        """
        if placement.guest in self._taken:
            raise NotTakenError(f"guest {placement.guest} is placed already.")
        demand = self._fitting(placement)
        self._book(placement, demand, sign=1)
        self._taken[placement.guest], self._demands[placement.guest] = placement, demand

    def give_back(self, placement: Placement) -> None:
        """Undo `take`: exactly what was taken is there again.

        Raises:
            NotTakenError: this placement is not taken.
        """
        taken = self._taken.get(placement.guest)
        if taken is not placement and taken != placement:
            raise NotTakenError(f"guest {placement.guest}: this placement is not taken.")
        self._book(placement, self._demands.pop(placement.guest), sign=-1)
        del self._taken[placement.guest]

    def fits(self, placement: Placement) -> bool:
        """Whether `take` would succeed."""
        try:
            self._fitting(placement)
        except DoesNotFitError:
            return False
        return placement.guest not in self._taken

    def check(self, placement: Placement) -> None:
        """Raises `DoesNotFitError` where `take` would."""
        self._fitting(placement)

    def host_memory_left_kib(self, name: HostName, page_kib: int) -> int:
        """The host's sum in pages of one size, less what unpinned placements took."""
        rows, i = self.fleet.rows(name), self.fleet.host_index(name)
        left = self.memory_kib[page_kib][rows.start : rows.stop].sum() if page_kib in self.memory_kib else 0
        return int(left) - self.loose_memory_kib[i][page_kib]

    def _fitting(self, placement: Placement) -> Demand:
        """What the placement takes. Raises `DoesNotFitError` where that is not left.

        Nothing is taken without a look here, so what fitted in the last one still fits.
        """
        if self._fits_now is not None and self._fits_now[0] is placement:
            return self._fits_now[1]
        demand = demand_of(placement, self.fleet.host(placement.host))
        for row, need in self._rows_of(placement.host, demand):
            self._memory_fits(placement, row, need)
            self._cpus_fit(placement, row, need)
        self._host_fits(placement, demand)
        self._groups_fit(placement)
        self._fits_now = placement, demand
        return demand

    def _rows_of(self, name: HostName, demand: Demand) -> Iterator[tuple[int, NodeDemand]]:
        """The rows that a demand touches."""
        for row, node in zip(self.fleet.rows(name), self.fleet.host(name).nodes, strict=True):
            if (need := demand.nodes.get(node.node_id)) is not None:
                yield row, need

    def _nodes_left(self, name: HostName) -> Iterator[NodeCapacity]:
        for row, node in zip(self.fleet.rows(name), self.fleet.host(name).nodes, strict=True):
            if row not in self._touched:
                yield node
                continue
            if row not in self._nodes:
                free, shared = self._cpus[row]
                self._nodes[row] = NodeCapacity(
                    node_id=node.node_id,
                    free_cpus=CpuSet(free),
                    shared_cpus=CpuSet(shared),
                    shared_vcpus=int(self.shared_vcpus[row]),
                    memory_kib={page: int(self.memory_kib[page][row]) for page in node.memory_kib},
                )
            yield self._nodes[row]

    def _memory_fits(self, placement: Placement, row: int, need: NodeDemand) -> None:
        for page, kib in need.memory_kib.items():
            left = int(self.memory_kib[page][row]) if page in self.memory_kib else 0
            if kib > left:
                lack = f"lacks {format_kib(kib - left)} in pages of {format_kib(page)}"
                raise DoesNotFitError(f"guest {placement.guest}: {self._where(row)} {lack}.")

    def _cpus_fit(self, placement: Placement, row: int, need: NodeDemand) -> None:
        free, shared = self._cpus[row]
        if stray := need.cpus - free:
            raise DoesNotFitError(f"guest {placement.guest}: {self._where(row)}: pCPUs {CpuSet(stray)} are not free.")
        left = len(shared - need.cpus)
        vcpus = int(self.shared_vcpus[row]) + need.shared_vcpus
        planned = vcpus - int(self.fleet.shared_vcpus[row])
        if not planned:
            return
        host = self.fleet.hosts[int(self.fleet.node_host[row])]
        if vcpus > _limit(host, left):
            lack = f"would have {vcpus} shared vCPUs on {left} shared pCPUs (overcommit {host.overcommit})"
            raise DoesNotFitError(f"guest {placement.guest}: {self._where(row)} {lack}.")
        largest = max((need.shared_vcpus, *self._sharers[row]))
        if largest > left:
            lack = f"would leave a guest with {largest} shared vCPUs on {left} shared pCPUs"
            raise DoesNotFitError(f"guest {placement.guest}: {self._where(row)} {lack}.")

    def _host_fits(self, placement: Placement, demand: Demand) -> None:
        """What is left on all nodes together still holds every unpinned placement."""
        i = self.fleet.host_index(placement.host)
        loose_vcpus = self.loose_vcpus[i] + demand.loose_vcpus
        if loose_vcpus and (self._owners[i] or placement.dedicated):
            both = "would mix unpinned guests with dedicated pCPUs"
            raise DoesNotFitError(f"guest {placement.guest}: host {placement.host} {both}.")
        for page in {*self.loose_memory_kib[i], *demand.loose_memory_kib}:
            bound = sum(need.memory_kib.get(page, 0) for need in demand.nodes.values())
            loose = demand.loose_memory_kib.get(page, 0)
            lack = bound + loose - self.host_memory_left_kib(placement.host, page)
            if lack > 0:
                short = f"lacks {format_kib(lack)} in pages of {format_kib(page)}"
                raise DoesNotFitError(f"guest {placement.guest}: host {placement.host} {short}.")
        if loose_vcpus:
            rows = dict(self._rows_of(placement.host, demand))
            room = sum(self._room_after(row, rows.get(row)) for row in self.fleet.rows(placement.host))
            if loose_vcpus > room:
                lacking = f"lacks shared room for {loose_vcpus - room} vCPUs"
                raise DoesNotFitError(f"guest {placement.guest}: host {placement.host} {lacking}.")

    def _groups_fit(self, placement: Placement) -> None:
        host = self.fleet.host(placement.host)
        if conflict := self.groups.conflict_of(placement, host):
            raise DoesNotFitError(f"guest {placement.guest}: {conflict}.")

    def _room_after(self, row: int, need: NodeDemand | None) -> int:
        shared = self._cpus[row][1]
        taken, more = (need.cpus, need.shared_vcpus) if need is not None else (frozenset(), 0)
        host = self.fleet.hosts[int(self.fleet.node_host[row])]
        left = len(shared - taken) if taken else len(shared)
        return max(0, _limit(host, left) - int(self.shared_vcpus[row]) - more)

    def _book(self, placement: Placement, demand: Demand, *, sign: int) -> None:
        """Take (sign 1) or give back (sign -1)."""
        self.groups.book(placement, self.fleet.host(placement.host), sign=sign)
        i = self.fleet.host_index(placement.host)
        self.loose_vcpus[i] += sign * demand.loose_vcpus
        self._owners[i] += sign * placement.dedicated
        for page, kib in demand.loose_memory_kib.items():
            self.loose_memory_kib[i][page] += sign * kib
        for row, need in self._rows_of(placement.host, demand):
            self._touched.add(row)
            self._nodes.pop(row, None)
            for page, kib in need.memory_kib.items():
                self.memory_kib[page][row] -= sign * kib
            self.shared_vcpus[row] += sign * need.shared_vcpus
            if need.shared_vcpus:
                sharers = self._sharers[row]
                sharers[need.shared_vcpus] += sign
                if not sharers[need.shared_vcpus]:
                    del sharers[need.shared_vcpus]
            self._book_cpus(row, need.cpus, sign=sign)

    def _book_cpus(self, row: int, cpus: frozenset[int], *, sign: int) -> None:
        host = self.fleet.hosts[int(self.fleet.node_host[row])]
        node = host.nodes[row - int(self.fleet.first_row[int(self.fleet.node_host[row])])]
        free, shared = self._cpus[row]
        if cpus:
            if sign > 0:
                free, shared = free - cpus, shared - cpus
            else:
                free, shared = free | (cpus & node.free_cpus.ids), shared | (cpus & node.shared_cpus.ids)
            self._cpus[row] = (free, shared)
            self.free_cpus[row], self.shared_cpus[row] = len(free), len(shared)
            self.both_cpus[row] = len(free & shared)
            if self._whole_cores is not None:
                self._whole_cores[row] = len(whole_cores(host.topology, free))
        self.shared_room[row] = self._room_after(row, None)
        spare = max(0, len(shared) - self._shared_needed(row, host.overcommit))
        self.own_room[row] = len(free) - max(0, int(self.both_cpus[row]) - spare)

    def _shared_needed(self, row: int, overcommit: Fraction) -> int:
        """The fewest shared pCPUs with which the guests taken still float there; 0 where none of them does."""
        sharers = self._sharers.get(row)
        if not sharers:
            return 0
        within = -(-int(self.shared_vcpus[row]) * overcommit.denominator // overcommit.numerator)
        return max(within, *sharers)

    def _where(self, row: int) -> str:
        host = self.fleet.hosts[int(self.fleet.node_host[row])]
        return f"node {int(self.fleet.node_ids[row])} of {host.name}"


def _limit(host: HostCapacity, pcpus: int) -> int:
    """So many vCPUs may float on so many shared pCPUs: ⌊overcommit × pCPUs⌋."""
    return host.overcommit.numerator * pcpus // host.overcommit.denominator
