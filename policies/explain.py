"""Why a guest has no home, with amounts and places, and the smallest change that would help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.candidates import candidates
from policies.capacity import HostCapacity
from policies.compose import make_placement
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.homes import Home, is_dedicated, part_counts, refusal, split
from policies.plan import Reason, Rejection
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName, RequestInvalidError
from probe.units import format_kib_rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Miss:
    """What one home lacks for one part of a guest; 0 where it has enough."""

    host: HostCapacity
    home: Home
    vcpus: int
    memory_kib: int

    @property
    def badness(self) -> tuple[bool, int, int]:
        """Smaller is nearer to a fit: one thing lacking before both, CPUs before memory."""
        return bool(self.vcpus and self.memory_kib), self.vcpus, self.memory_kib


def reject_all(requests: Sequence[GuestRequest], fleet: Fleet, *, proven: bool = True) -> Mapping[GuestName, Rejection]:
    """The rejections of guests without a place, each worked out once per class of identical guests."""
    known: dict[GuestRequest, Rejection] = {}
    found = {}
    for request in requests:
        alike = replace(request, name=GuestName("alike"))
        if alike not in known:
            known[alike] = reject(alike, fleet, proven=proven)
        found[request.name] = replace(known[alike], guest=request.name)
    return found


def reject(request: GuestRequest, fleet: Fleet, *, proven: bool = True) -> Rejection:
    """The rejection of a guest that a policy has no place for.

    A guest that fits alone lost to the others of its batch (`CONTENTION`), or to the clock
    (`TIME_LIMIT`, where `proven` is False).
    """
    hosts = list(fits_alone_on(request, fleet))
    if hosts:
        named = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
        if not proven:
            detail = f"fits {named} alone; the search ended before a place was found or excluded"
            return Rejection(
                guest=request.name, reason=Reason.TIME_LIMIT, detail=detail, fits_if="a longer --time-limit"
            )
        detail = f"fits {named} alone, but not beside the guests of its batch that count as much or more"
        return Rejection(guest=request.name, reason=Reason.CONTENTION, detail=detail, fits_if="a higher priority")
    reason, detail = _cannot(request, fleet)
    return Rejection(guest=request.name, reason=reason, detail=detail, fits_if=_fits_if(request, fleet))


def fits_alone_on(request: GuestRequest, fleet: Fleet) -> Iterator[HostName]:
    """The hosts that hold the guest when no other guest of the batch is there."""
    book = fleet.open()
    for host in fleet:
        for way in candidates(request, host):
            try:
                fits = book.fits(make_placement(request, host, way.homes))
            except DoesNotFitError:
                fits = False
            if fits:
                yield host.name
                break


def _cannot(request: GuestRequest, fleet: Fleet) -> tuple[Reason, str]:
    """Why it fits nowhere: every host refuses it, or the nearest miss with what is lacking."""
    refusals = [refusal(request, host) for host in fleet]
    if all(refusals):
        first = next((r for r in refusals if r and r[0] is not Reason.HOST), None) or (refusals or [None])[0]
        return first or (Reason.HOST, "there are no hosts")
    misses = [miss for host in fleet if refusal(request, host) is None for miss in _misses(request, host)]
    if not misses:
        return Reason.PCPUS, "no host has as many nodes with CPUs and memory as it has cells"
    nearest = min(misses, key=lambda miss: miss.badness)
    if not nearest.vcpus and not nearest.memory_kib:
        return Reason.PCPUS, "no set of reachable nodes of one host holds all of its parts together"
    return _miss_reason(request, nearest), _miss_text(request, nearest)


def _misses(request: GuestRequest, host: HostCapacity) -> Iterator[_Miss]:
    """What each home lacks for the guest's largest share, split as far as it may be."""
    counts = part_counts(request, host)
    if not counts:
        return
    share = split(request, host, counts[-1])[0]
    for way in dict.fromkeys(c.homes[0] for c in candidates(request, host)):
        node, memory = host.node(way.cpu_node), host.node(way.memory_node)
        room = len(node.free_cpus)
        if not is_dedicated(request):
            overcommitted = int(host.overcommit * len(node.shared_cpus)) - node.shared_vcpus
            room = max(0, min(len(node.shared_cpus), overcommitted))
        overhead = request.overhead_kib if request.page_kib == 4 else 0
        lack_kib = share.memory_kib + overhead - memory.memory_kib.get(request.page_kib, 0)
        yield _Miss(host=host, home=way, vcpus=max(0, share.vcpus - room), memory_kib=max(0, lack_kib))


def _miss_reason(request: GuestRequest, miss: _Miss) -> Reason:
    if miss.memory_kib:
        return Reason.HUGEPAGES if request.page_kib > 4 else Reason.MEMORY
    return Reason.PCPUS


def _miss_text(request: GuestRequest, miss: _Miss) -> str:
    lacks = []
    if miss.vcpus:
        kind = "free" if is_dedicated(request) else "shared"
        lacks.append(f"{miss.vcpus} {kind} pCPU{'s' * (miss.vcpus > 1)}")
    if miss.memory_kib:
        pages = f" in {format_kib_rounded(request.page_kib)} pages" if request.page_kib > 4 else ""
        lacks.append(f"{format_kib_rounded(miss.memory_kib)}{pages}")
    node = miss.home.memory_node if miss.memory_kib else miss.home.cpu_node
    return f"the nearest fit, node {node} of {miss.host.name}, lacks {' and '.join(lacks)}"


def _fits_if(request: GuestRequest, fleet: Fleet) -> str:
    """The first of a closed list of changes, cheapest first, that makes it fit alone; "" if none does.

    The order: span more nodes; share CPUs; 4 KiB pages; less memory; fewer vCPUs.
    """
    for change, changed in _changes(request):
        if any(fits_alone_on(changed, fleet)):
            return change
    return ""


def _changes(request: GuestRequest) -> Iterator[tuple[str, GuestRequest]]:
    if request.cells == 1:
        for nodes in range((request.max_nodes or 1) + 1, min(8, request.vcpus) + 1):
            yield f"max_nodes: {nodes}", replace(request, max_nodes=nodes)
    if is_dedicated(request):
        yield "cpus: shared", replace(request, cpus=CpuPolicy.SHARED)
    if request.page_kib > 4:
        yield "page_size: 4KiB", replace(request, page_kib=4)
    grain = max(request.page_kib, 1024)
    for sixteenths in range(15, 0, -1):
        kib = request.memory_kib * sixteenths // 16 // grain * grain
        if kib:
            yield f"memory: {format_kib_rounded(kib)} or less", replace(request, memory_kib=kib)
    for vcpus in range(request.vcpus - 1, 0, -1):
        try:
            yield f"vcpus: {vcpus}", replace(request, vcpus=vcpus)
        except RequestInvalidError:
            return
