"""What a guest could ask for instead: a closed list, in the order of what it costs its user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

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
    for text, fewer, most in (_less_memory(request), _fewer_vcpus(request)):
        amount = _most_that_fits(most, lambda n: fits(fewer(n)))  # noqa: B023
        if amount:
            neither = False
            yield text(amount), fewer(amount)
    if neither:
        yield from _smaller_in_both(request, fits)


def _smaller_in_both(request: GuestRequest, fits: Callable[[GuestRequest], bool]) -> Iterator[tuple[str, GuestRequest]]:
    """The most vCPUs that fit with the least memory, then the most memory that fits with them."""
    memory_text, less, most_memory = _less_memory(request)
    vcpus_text, fewer, most_vcpus = _fewer_vcpus(request)
    vcpus = most_memory and _most_that_fits(
        most_vcpus, lambda n: fits(replace(fewer(n), memory_kib=less(1).memory_kib))
    )
    memory = vcpus and _most_that_fits(most_memory, lambda n: fits(replace(less(n), vcpus=vcpus)))
    if memory:
        yield f"{vcpus_text(vcpus)}, {memory_text(memory)}", replace(less(memory), vcpus=vcpus)


_Scaled = tuple[Callable[[int], str], Callable[[int], GuestRequest], int]
"""How a change of some size reads, what it makes of the guest, and the largest size worth a try."""


def _less_memory(request: GuestRequest) -> _Scaled:
    grain = max(request.page_kib, 1024)
    return (
        lambda n: f"memory: {format_kib(n * grain)}",
        lambda n: replace(request, memory_kib=n * grain),
        0 if request.cell_sizes else (request.memory_kib - 1) // grain,
    )


def _fewer_vcpus(request: GuestRequest) -> _Scaled:
    def fewer(vcpus: int) -> GuestRequest:
        try:
            return replace(request, vcpus=vcpus)
        except RequestInvalidError:  # more cells than vCPUs
            return request

    return lambda n: f"vcpus: {n}", fewer, request.vcpus - 1


def _most_that_fits(most: int, fits: Callable[[int], bool]) -> int:
    """The largest of 1 … `most` that fits, by bisection; 0 where none is found."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
