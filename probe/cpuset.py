"""Sets of pCPUs and of NUMA nodes, and the texts that Linux, libvirt, Xen and hwloc write them in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NewType, Self

CpuId = NewType("CpuId", int)
"""Index of a host logical CPU, as the kernel (or Xen) counts: `/sys/devices/system/cpu/cpu<N>`."""

NodeId = NewType("NodeId", int)
"""Index of a NUMA node, as the kernel (or Xen) counts: `/sys/devices/system/node/node<N>`."""

MAX_ID = 65_535
"""Largest id that is believed; a text that names a larger one is refused, not expanded."""


@dataclass(frozen=True, slots=True)
class _IdSet:
    """A set of small ids. Two subclasses never mix: operators raise `TypeError`."""

    ids: frozenset[int] = frozenset()

    @classmethod
    def of(cls, *ids: int) -> Self:
        return cls(frozenset(ids))

    @classmethod
    def union(cls, sets: Iterable[Self]) -> Self:
        return cls(frozenset().union(*(each.ids for each in sets)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list as Linux and libvirt write it: ``0-3,8``, ``0-31:2/4``, ``0-7,^3``.

        White space and NUL bytes around the text are dropped (an ARM kernel ends `cpulist` with
        a NUL). ``^N`` removes from what stands before it (libvirt). ``N-M:used/group`` takes the
        first `used` of every `group` ids (kernel, `bitmap_parselist`). An empty text is the
        empty set.

        Raises:
            ValueError: an item is none of these, runs backwards, or names an id over `MAX_ID`.
        """
        ids: set[int] = set()
        for raw in filter(None, text.strip(" \t\r\n\0").split(",")):
            item = raw.strip()
            if item.startswith("^"):
                ids.difference_update(_ids_of_item(item[1:], cls.__name__))
            else:
                ids.update(_ids_of_item(item, cls.__name__))
        return cls(frozenset(ids))

    @classmethod
    def parse_mask(cls, text: str) -> Self:
        """Read a bit mask in 32-bit words: ``ff,00000000`` (sysfs), ``0x000000ff,0x0`` (hwloc).

        Raises:
            ValueError: a word is not hexadecimal, or a bit over `MAX_ID` is set.
        """
        words = [w.strip().removeprefix("0x") for w in text.strip(" \t\r\n\0").split(",")]
        value = 0
        for word in words:
            if len(word) > 8 and len(words) > 1:
                raise ValueError(f"{cls.__name__}: mask word {word!r} is longer than 32 bits.")
            value = (value << 32) | (int(word, 16) if word else 0)
        if value < 0 or value.bit_length() > MAX_ID + 1:
            raise ValueError(f"{cls.__name__}: mask {text[:40]!r} is out of range.")
        return cls(frozenset(i for i in range(value.bit_length()) if value >> i & 1))

    def __str__(self) -> str:
        """The canonical text, sorted and shortest: ``0-3,8``."""
        ids, parts = sorted(self.ids), []
        start = 0
        for end, current in enumerate(ids):
            if end + 1 < len(ids) and ids[end + 1] == current + 1:
                continue
            first = ids[start]
            parts.append(str(first) if first == current else f"{first}-{current}")
            start = end + 1
        return ",".join(parts)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: object) -> bool:
        return item in self.ids

    def __or__(self, other: Self) -> Self:
        return type(self)(self.ids | self._same(other).ids)

    def __and__(self, other: Self) -> Self:
        return type(self)(self.ids & self._same(other).ids)

    def __sub__(self, other: Self) -> Self:
        return type(self)(self.ids - self._same(other).ids)

    def __le__(self, other: Self) -> bool:
        return self.ids <= self._same(other).ids

    def isdisjoint(self, other: Self) -> bool:
        return self.ids.isdisjoint(self._same(other).ids)

    def _same(self, other: Self) -> Self:
        if type(other) is not type(self):
            raise TypeError(f"{type(self).__name__} and {type(other).__name__} do not mix.")
        return other


class CpuSet(_IdSet):
    """Host logical CPUs (pCPUs), the unit that a vCPU is pinned to."""

    __slots__ = ()


class NodeSet(_IdSet):
    """Host NUMA nodes (libvirt calls one a *cell*), the unit memory is bound to."""

    __slots__ = ()


def _ids_of_item(item: str, kind: str) -> range | list[int]:
    span, _, stride = item.partition(":")
    first, dash, last = span.partition("-")
    if not (_is_number(first) and (_is_number(last) or not dash)):
        raise ValueError(f"{kind}: cannot read {item[:40]!r}.")
    low, high = int(first), int(last or first)
    if low > high:
        raise ValueError(f"{kind}: range {item[:40]!r} runs backwards.")
    if high > MAX_ID:
        raise ValueError(f"{kind}: {item[:40]!r} is over the largest id, {MAX_ID}.")
    ids = range(low, high + 1)
    if ":" not in item:
        return ids
    used, slash, group = stride.partition("/")
    if not (slash and _is_number(used) and _is_number(group) and 0 < int(used) <= int(group)):
        raise ValueError(f"{kind}: cannot read the stride of {item[:40]!r}.")
    return [i for i in ids if (i - low) % int(group) < int(used)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
