"""When each pCPU of a host is whose: asked by span of time, in about as long as the host has pCPUs."""

from __future__ import annotations

import bisect
from collections import defaultdict

from policies.plan import Placement
from probe.cpuset import CpuSet

Span = tuple[int, int]
"""From the first time to the last, both included."""


class _Spans:
    """Spans that may overlap."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, span: Span) -> None:
        bisect.insort(self._firsts, span[0])
        bisect.insort(self._lasts, span[1])

    def meeting(self, span: Span) -> int:
        """How many of them have a time in common with this one."""
        return bisect.bisect_right(self._firsts, span[1]) - bisect.bisect_left(self._lasts, span[0])


class Occupied:
    """The pCPUs of one host: who owns them when, and where others run beside.

    Attributes:
        ever_owned: pCPUs that somebody owns at some time.
    """

    def __init__(self, online_cpus: CpuSet) -> None:
        self._online = online_cpus
        self._owned: dict[int, _Spans] = defaultdict(_Spans)
        self._running: dict[CpuSet, _Spans] = defaultdict(_Spans)

    def add(self, placement: Placement, span: Span, *, floats: bool = True) -> None:
        """A guest that is there so long; `floats`: whether where it runs beside its own pCPUs is settled."""
        for cpu in placement.own_cpus.ids:
            self._owned[cpu].add(span)
        if floats:
            self._running[self._runs(placement)].add(span)

    @property
    def ever_owned(self) -> CpuSet:
        return CpuSet(frozenset(self._owned))

    def owned(self, span: Span, *, but: Placement | None = None) -> CpuSet:
        """Whose are somebody's own at a time of the span; `but`: a guest that is there then and does not count."""
        own = CpuSet() if but is None else but.own_cpus
        found = (cpu for cpu, spans in self._owned.items() if spans.meeting(span) > (cpu in own))
        return CpuSet(frozenset(found))

    def running(self, span: Span, *, but: Placement | None = None) -> CpuSet:
        """Where anybody may run at a time of the span, beside those that are owned."""
        mine = None if but is None else self._runs(but)
        return CpuSet.union(cpus for cpus, spans in self._running.items() if spans.meeting(span) > (cpus == mine))

    def _runs(self, placement: Placement) -> CpuSet:
        if placement.cpus is None:
            return self._online
        return (placement.cpus | (placement.emulator_cpus or CpuSet())) - placement.own_cpus
