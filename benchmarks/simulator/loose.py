"""Where what is bound to nothing falls: on the nodes in proportion to what each has left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe.cpuset import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Loose:
    """Where an unpinned guest fell, node by node of its host.

    Attributes:
        rows, node_ids: of the host's nodes.
        vcpus: that count on each node.
        kib: page size to the memory on each node, the overhead among it.
    """

    rows: Sequence[int]
    node_ids: Sequence[NodeId]
    vcpus: Sequence[int]
    kib: Mapping[int, Sequence[int]]

    @property
    def kib_by_node(self) -> Mapping[int, int]:
        """All memory, by node."""
        total: Counter[int] = Counter()
        for amounts in self.kib.values():
            total.update(dict(zip(self.node_ids, amounts, strict=True)))
        return +total

    def to_json(self) -> dict[str, Any]:
        return {"vcpus": list(self.vcpus), "kib": {str(page): list(kib) for page, kib in self.kib.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], rows: Sequence[int], node_ids: Sequence[NodeId]) -> Loose:
        """What `to_json` wrote, of a guest on a host with these nodes."""
        kib = {int(page): [int(each) for each in amounts] for page, amounts in value["kib"].items()}
        return cls(rows=rows, node_ids=node_ids, vcpus=[int(each) for each in value["vcpus"]], kib=kib)


def shared_out(amount: int, room: Sequence[int]) -> list[int]:
    """`amount` in whole numbers in proportion to `room`, the largest remainders rounded up; first ones of equals.

    More than there is room for goes on in the same proportion; where there is no room at all, evenly.
    """
    weights = list(room) if sum(room) else [1] * len(room)
    total = sum(weights)
    parts = [amount * weight // total for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % total), i))
    for i in remainders[: amount - sum(parts)]:
        parts[i] += 1
    return parts
