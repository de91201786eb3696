"""Which mappings of a QEMU process are the RAM of which guest cell.

The command line names a memory backend for each guest cell (`-numa node,nodeid=,memdev=`) or for all
of the guest (`-machine memory-backend=`), and for each DIMM (`-device pc-dimm,node=,memdev=`), with
its size and host nodes (recorded/kvm/*/dom/*.cmdline). QEMU maps backends in this order, and the
kernel hands out addresses downwards. Objects are JSON, or `key=value` before libvirt 6.8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from probe.cpuset import NodeSet
from scheduler.observers.numa_maps import MemoryMapping

Ram = tuple[MemoryMapping, ...]
"""The mappings that hold one guest cell's memory."""

_Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backend:
    cell: int
    size_kib: int
    bound_nodes: NodeSet | None


def ram_of_cells(arguments: Sequence[str], mappings: Sequence[MemoryMapping]) -> tuple[Ram, ...] | None:
    """The RAM of each guest cell, `mappings` being sorted by address; None where it cannot be told.

    Without a backend on the command line (QEMU before 5.0) all is one cell: the largest mapping.
    """
    options = [(name, _fields(value)) for name, value in pairwise(arguments)]
    try:
        cell_of = _cell_of_backend(options)
        backends = [_backend(f, cell_of[str(f["id"])]) for _, f in _objects(options) if str(f.get("id")) in cell_of]
    except (ValueError, TypeError, KeyError):
        return None
    if not cell_of and mappings:
        return ((max(mappings, key=lambda mapping: mapping.size_kib),),)
    runs = _matched(backends, mappings)
    cells = {cell: [run for b, run in runs if b.cell == cell] for cell in range(len({*cell_of.values()}))}
    if len(runs) < len(cell_of) or not all(cells.values()):
        return None
    return tuple(tuple(mapping for run in cell for mapping in run) for cell in cells.values())


def _fields(text: str) -> _Fields:
    """`{"qom-type":"x","id":"y"}` or `x,id=y` by key; the word without a key is under ""."""
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return {}
        return {"": value.get("qom-type") or value.get("driver"), **value} if isinstance(value, dict) else {}
    pairs = (word.partition("=") for word in text.split(","))
    return {(key if equals else ""): (value if equals else key) for key, equals, value in pairs}


def _objects(options: Sequence[tuple[str, _Fields]]) -> Iterator[tuple[str, _Fields]]:
    return ((name, fields) for name, fields in options if name == "-object")


def _cell_of_backend(options: Sequence[tuple[str, _Fields]]) -> dict[str, int]:
    """Id of each backend that is guest RAM, and the cell that it belongs to."""
    cells = [(f["memdev"], f["nodeid"]) for name, f in options if name == "-numa" and f.get("") == "node"]
    whole = [(f["memory-backend"], 0) for name, f in options if name == "-machine" and "memory-backend" in f]
    dimms = [(f["memdev"], f.get("node", 0)) for name, f in options if name == "-device" and f.get("") == "pc-dimm"]
    return {str(backend): int(str(cell)) for backend, cell in (*(cells or whole), *dimms)}


def _backend(fields: _Fields, cell: int) -> _Backend:
    """Raises ValueError, TypeError or KeyError when it is not as libvirt writes it."""
    size_kib = int(str(fields["size"])) // 1024
    if size_kib <= 0:
        raise ValueError(f"a backend of {size_kib} KiB.")
    nodes = fields.get("host-nodes") if fields.get("policy") in ("bind", "interleave") else None
    told = nodes if isinstance(nodes, list) else [nodes]
    return _Backend(
        cell=cell,
        size_kib=size_kib,
        bound_nodes=None if nodes is None else NodeSet.parse(",".join(str(node) for node in told)),
    )


def _matched(backends: Sequence[_Backend], mappings: Sequence[MemoryMapping]) -> list[tuple[_Backend, Ram]]:
    """Each backend with the mappings of its size: first those of its policy, then the highest."""
    free = {size: _runs(mappings, size) for size in {backend.size_kib for backend in backends}}
    found: list[tuple[_Backend, Ram]] = []
    taken: set[int] = set()
    for policy_counts in (True, False):
        for backend in [b for b in backends if not any(b is each for each, _ in found)]:
            for run in free[backend.size_kib]:
                alike = run[0].pages.bound_nodes == backend.bound_nodes
                if (alike or not policy_counts) and taken.isdisjoint(mapping.start for mapping in run):
                    found.append((backend, run))
                    taken.update(mapping.start for mapping in run)
                    break
    return found


def _runs(mappings: Sequence[MemoryMapping], size_kib: int) -> list[Ram]:
    """Neighbours that add up to `size_kib`: single mappings first (the kernel may split one), then the highest."""
    found, first, total_kib = [], 0, 0
    for last, mapping in enumerate(mappings):
        if last and mappings[last - 1].end != mapping.start:
            first, total_kib = last, 0
        total_kib += mapping.size_kib
        while total_kib > size_kib:
            total_kib -= mappings[first].size_kib
            first += 1
        if total_kib == size_kib:
            found.append(tuple(mappings[first : last + 1]))
    return sorted(found, key=lambda run: (len(run), -run[0].start))
