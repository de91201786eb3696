"""What a guest could ask for instead: a closed list, in the order of what it costs its user."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.homes import has_own_pcpus
from policies.request import AskedMemoryMode, Cells, CpuPolicy, GuestRequest, RequestInvalidError
from probe.cpuset import CpuSet
from probe.units import format_kib

MOST_NODES_TRIED = 8
"""As many nodes as are offered to a guest that may span fewer."""


def other_requests(request: GuestRequest) -> Iterator[tuple[str, GuestRequest]]:
    """The changes that need no amount, each with how it reads."""
    if request.hosts is not None:
        yield "hosts: any", replace(request, hosts=None)
    spans = request.cells == "auto" or (request.cells == 1 and request.memory_mode is AskedMemoryMode.AUTO)
    if spans and request.node_limit is not None:
        for nodes in range(request.node_limit + 1, min(MOST_NODES_TRIED, request.vcpus) + 1):
            yield f"max_nodes: {nodes}", replace(request, max_nodes=nodes)
    if request.cells not in (1, "auto"):
        auto: Cells = "auto"
        yield "cells: auto", replace(request, cells=auto, max_nodes=None, cell_sizes=(), stack_cells=False)
    for member in (each for each in request.groups if each.group.hard):
        rest = tuple(other for other in request.groups if other is not member)
        yield f"groups: without {member.group.name}", replace(request, groups=rest)
    yield from _of_devices_and_cpus(request)
    for page_kib in (2048, 4):
        if page_kib < request.page_kib:
            yield f"page_size: {format_kib(page_kib)}", replace(request, page_kib=page_kib)
    if not request.far_memory:
        yield "far_memory: true", replace(request, far_memory=True)


def _of_devices_and_cpus(request: GuestRequest) -> Iterator[tuple[str, GuestRequest]]:
    for device in (each for each in request.devices if each.must):
        rest = tuple(other for other in request.devices if other is not device)
        yield f"devices: without {device.address}", replace(request, devices=rest)
    if request.smt is not SmtPolicy.PREFER:
        yield "smt: prefer", replace(request, smt=SmtPolicy.PREFER)
    if request.emulator is not EmulatorPolicy.AUTO:
        yield "emulator: auto", replace(request, emulator=EmulatorPolicy.AUTO)
    if has_own_pcpus(request):
        emulator = EmulatorPolicy.AUTO if request.emulator is EmulatorPolicy.OWN else request.emulator
        with_it = ["smt: prefer"] if request.smt is not SmtPolicy.PREFER else []
        with_it += ["emulator: auto"] if request.emulator is not emulator else []
        shared = replace(
            request, cpus=CpuPolicy.SHARED, dedicated_vcpus=CpuSet(), smt=SmtPolicy.PREFER, emulator=emulator
        )
        yield ", ".join([*with_it, "cpus: shared"]), shared


def smaller_requests(request: GuestRequest, fits: Callable[[GuestRequest], bool]) -> Iterator[tuple[str, GuestRequest]]:
    """Less memory, fewer vCPUs, and both where neither does: of each the most that fits."""
    neither = True
    for some in (_less_memory(request), _fewer_vcpus(request)):
        amount = _most_that_fits(some, lambda n: fits(some.made(n)))  # noqa: B023
        if amount:
            neither = False
            yield some.text(amount), some.made(amount)
    if neither:
        yield from _smaller_in_both(request, fits)


def _smaller_in_both(request: GuestRequest, fits: Callable[[GuestRequest], bool]) -> Iterator[tuple[str, GuestRequest]]:
    """The most vCPUs that fit with the least memory, then the most memory that fits with them."""
    fewer = _fewer_vcpus(request)
    if request.cell_sizes:
        return
    vcpus = _most_that_fits(fewer, lambda n: fits(_with_least_memory(fewer.made(n))))
    if not vcpus:
        return
    less = _less_memory(fewer.made(vcpus))
    memory = _most_that_fits(less, lambda n: fits(less.made(n)))
    if memory:
        yield f"{fewer.text(vcpus)}, {less.text(memory)}", less.made(memory)


def _with_least_memory(request: GuestRequest) -> GuestRequest:
    less = _less_memory(request)
    return less.made(less.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scaled:
    """A change of some size: how it reads, what it makes of the guest, and which sizes are worth a try."""

    text: Callable[[int], str]
    made: Callable[[int], GuestRequest]
    least: int
    most: int


def _less_memory(request: GuestRequest) -> _Scaled:
    """Each cell keeps some, that of the fewest vCPUs too."""
    grain = max(request.page_kib, 1024)
    cells = 1 if request.cells == "auto" else request.cells
    return _Scaled(
        text=lambda n: f"memory: {format_kib(n * grain)}",
        made=lambda n: replace(request, memory_kib=n * grain),
        least=math.ceil(request.vcpus / (request.vcpus // cells)),
        most=0 if request.cell_sizes else (request.memory_kib - 1) // grain,
    )


def _fewer_vcpus(request: GuestRequest) -> _Scaled:
    """Each cell keeps one, and a mixed guest those that own their pCPUs and one that floats."""

    def is_too_small(vcpus: int) -> bool:
        try:
            replace(request, vcpus=vcpus)
        except RequestInvalidError:
            return True
        return False

    sizes = range(1, request.vcpus)
    return _Scaled(
        text=lambda n: f"vcpus: {n}",
        made=lambda n: replace(request, vcpus=n),
        least=1 + bisect_left(sizes, True, key=lambda n: not is_too_small(n)),
        most=request.vcpus - 1,
    )


def _most_that_fits(some: _Scaled, fits: Callable[[int], bool]) -> int:
    """The largest size that fits, by bisection; 0 where none is found."""
    low, high = some.least - 1, some.most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low if low >= some.least else 0
