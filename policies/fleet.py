"""The capacities of all nodes of all hosts, as arrays; and a book in which placements are taken.

What fits, in the words of the checker (`policies.check`, which shares no code with this file):

* A dedicated pCPU comes out of its node's free ones, and out of the shared ones where they overlap.
* Shared room of a node = floor(overcommit × shared pCPUs left) − shared vCPUs there. It binds where
  a plan puts shared vCPUs. What floated there before is not crowded by a dedicated guest, because
  pCPUs on which anybody may run are not free.
* One guest's shared vCPUs on a node never outnumber the shared pCPUs left there: no guest is
  overcommitted against itself.
* An unpinned placement (cell `cpus` None, memory `node_id` None) counts against the host's sum
  only: the memory left on all its nodes together, and all their shared room. It may run on any
  pCPU, so on a host it never stands beside a dedicated guest of the same plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from policies.capacity import HostCapacity, NodeCapacity
from policies.request import HostName

if TYPE_CHECKING:
    from policies.open_fleet import OpenFleet

Counts = npt.NDArray[np.int64]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All hosts, and one row per node in host order, then node order.

    Attributes:
        hosts: in the order of the hosts file; names are unique.
        first_row: row of each host's first node, and one more entry: the number of rows.
        node_host: index of the row's host in `hosts`.
        node_ids: the kernel's id of the row's node (unique within its host only).
        free_cpus: number of pCPUs that may be dedicated.
        shared_cpus: number of pCPUs that are shared.
        both_cpus: number of pCPUs that are free and shared; dedicating one costs the shared.
        shared_vcpus: vCPUs that float there already.
        shared_room: shared vCPUs that still fit, never negative.
        memory_kib: page size to the KiB that may be promised; 0 where a node has no such pages.
            Every page size of any host is a key, and so is 4.
        schedulable: per host, not per row.

    The arrays are read-only. `open()` gives a copy to write in.
    """

    hosts: tuple[HostCapacity, ...]
    first_row: Counts = field(compare=False, repr=False)
    node_host: Counts = field(compare=False, repr=False)
    node_ids: Counts = field(compare=False, repr=False)
    free_cpus: Counts = field(compare=False, repr=False)
    shared_cpus: Counts = field(compare=False, repr=False)
    both_cpus: Counts = field(compare=False, repr=False)
    shared_vcpus: Counts = field(compare=False, repr=False)
    shared_room: Counts = field(compare=False, repr=False)
    memory_kib: Mapping[int, Counts] = field(compare=False, repr=False)
    schedulable: npt.NDArray[np.bool_] = field(compare=False, repr=False)
    _index: Mapping[str, int] = field(compare=False, repr=False)

    @classmethod
    def of(cls, hosts: Sequence[HostCapacity]) -> Fleet:
        """Gather the hosts' nodes into arrays.

        Raises:
            ValueError: two hosts have the same name.
        """
        index: dict[str, int] = {h.name: i for i, h in enumerate(hosts)}
        if len(index) != len(hosts):
            raise ValueError(f"host names repeat: {[h.name for h in hosts]}.")
        rows = [(h, n) for h in hosts for n in h.nodes]
        pages = sorted({4, *(page for _, n in rows for page in n.memory_kib)})
        return cls(
            hosts=tuple(hosts),
            first_row=_counts(np.cumsum([0, *(len(h.nodes) for h in hosts)])),
            node_host=_counts([index[h.name] for h, _ in rows]),
            node_ids=_counts([n.node_id for _, n in rows]),
            free_cpus=_counts([len(n.free_cpus) for _, n in rows]),
            shared_cpus=_counts([len(n.shared_cpus) for _, n in rows]),
            both_cpus=_counts([len(n.free_cpus & n.shared_cpus) for _, n in rows]),
            shared_vcpus=_counts([n.shared_vcpus for _, n in rows]),
            shared_room=_counts([_room(h, n) for h, n in rows]),
            memory_kib={page: _counts([n.memory_kib.get(page, 0) for _, n in rows]) for page in pages},
            schedulable=_frozen(np.array([h.schedulable for h in hosts], dtype=np.bool_)),
            _index=index,
        )

    def __iter__(self) -> Iterator[HostCapacity]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)

    def host(self, name: str) -> HostCapacity:
        """The host with this name. Raises `KeyError` where there is none."""
        return self.hosts[self._index[name]]

    def has_host(self, name: str) -> bool:
        """Whether there is such a host."""
        return name in self._index

    def host_index(self, name: str) -> int:
        """Its index in `hosts`. Raises `KeyError` where there is none."""
        return self._index[name]

    def rows(self, name: HostName) -> range:
        """The rows of a host's nodes, in node order. Raises `KeyError` where there is none."""
        i = self._index[name]
        return range(int(self.first_row[i]), int(self.first_row[i + 1]))

    def with_hosts(self, changed: Mapping[int, HostCapacity]) -> Fleet:
        """The fleet with other hosts at these indices, of the same names, node ids and page sizes.

        It takes as long as these hosts are many, however large the fleet is (copies of arrays apart).
        """
        if not changed:
            return self
        other, rows = Fleet.of([*changed.values()]), np.concatenate([self._rows_at(index) for index in changed])
        hosts = list(self.hosts)
        for index, host in changed.items():
            hosts[index] = host

        def put(mine: Counts, its: Counts) -> Counts:
            copied = mine.copy()
            copied[rows] = its
            return _frozen(copied)

        nothing = np.zeros(len(rows), dtype=np.int64)
        schedulable = self.schedulable.copy()
        schedulable[list(changed)] = other.schedulable
        return replace(
            self,
            hosts=tuple(hosts),
            free_cpus=put(self.free_cpus, other.free_cpus),
            shared_cpus=put(self.shared_cpus, other.shared_cpus),
            both_cpus=put(self.both_cpus, other.both_cpus),
            shared_vcpus=put(self.shared_vcpus, other.shared_vcpus),
            shared_room=put(self.shared_room, other.shared_room),
            memory_kib={page: put(kib, other.memory_kib.get(page, nothing)) for page, kib in self.memory_kib.items()},
            schedulable=_frozen(schedulable),
        )

    def _rows_at(self, index: int) -> Counts:
        return np.arange(self.first_row[index], self.first_row[index + 1])

    def open(self) -> OpenFleet:
        """A book over this fleet in which nothing is taken yet."""
        from policies.open_fleet import OpenFleet

        return OpenFleet(self)


def _room(host: HostCapacity, node: NodeCapacity) -> int:
    return max(0, int(host.overcommit * len(node.shared_cpus)) - node.shared_vcpus)


def _counts(values: Sequence[int] | Counts) -> Counts:
    return _frozen(np.array(values, dtype=np.int64))


def _frozen(array: _Array) -> _Array:
    array.setflags(write=False)
    return array
