"""Concrete pCPUs for a whole batch whose homes are chosen, so that no guest takes what another one needs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.candidates import candidate_of
from policies.capacity import HostCapacity, NodeCapacity
from policies.compose import Assigned, Within, make_placement, settle_shared, with_emulator
from policies.cores import whole_cores
from policies.fleet import Fleet
from policies.homes import has_own_pcpus
from policies.l3 import L3Need, L3Use, deal_cores, l3_domains, l3_groups, l3_rooms, l3_use
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.request import GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet

_Quotas = Mapping[tuple[HostName, int], Mapping[int, int]]
"""Of nodes where some L3 domains are told: how many whole cores come from each domain in all."""


def compose_all(assigned: Sequence[Assigned], fleet: Fleet) -> Mapping[GuestName, Placement]:
    """Concrete pCPUs: whole cores first, then single pCPUs, then who floats; larger before smaller.

    Guests whose L3 domains are told come before others who ask for the same, and emulators after them.

    Raises:
        DoesNotFitError: the batch does not fit; the policy that chose the homes is wrong.
    """
    book, quotas = fleet.open(), _quotas(assigned, fleet)
    order = sorted(assigned, key=lambda a: (not has_own_pcpus(a.request), -a.request.vcpus, a.request.name))
    on_cores = [choice for choice in order if choice.request.smt is not SmtPolicy.PREFER]
    told = [choice for choice in order if any(choice.l3)]
    first = sorted(on_cores, key=lambda choice: not any(choice.l3))
    first += [choice for choice in told if choice.request.smt is SmtPolicy.PREFER]
    for choice in first:
        later = replace(choice.request.in_pages(choice.page_kib), emulator=EmulatorPolicy.GUEST)
        within = _within(choice, book, quotas)
        book.take(make_placement(later, book.host(choice.host), choice.homes, within))
    for choice in first:
        _book_emulator(book, choice.request)
    for choice in order:
        if not book.is_taken(choice.request.name):
            concrete = choice.request.in_pages(choice.page_kib)
            book.take(make_placement(concrete, book.host(choice.host), choice.homes))
    taken = book.taken
    return {p.guest: p for p in settle_shared([taken[a.request.name] for a in assigned], fleet)}


def with_l3(assigned: Sequence[Assigned], fleet: Fleet) -> Sequence[Assigned]:
    """The same, and of guests whose groups look at L3 domains those in which composing puts them."""
    if not any(l3_groups(choice.request.groups) for choice in assigned):
        return assigned
    placed = compose_all(assigned, fleet)
    return [_with_l3(choice, placed[choice.request.name], fleet) for choice in assigned]


def _with_l3(choice: Assigned, placement: Placement, fleet: Fleet) -> Assigned:
    if not l3_groups(choice.request.groups):
        return choice
    nodes, by_core = [home.cpu_node for home in choice.homes], placement.smt is not SmtPolicy.PREFER
    return replace(choice, l3=l3_use(placement, fleet.host(choice.host), nodes, by_core=by_core))


def _book_emulator(book: OpenFleet, request: GuestRequest) -> None:
    """The emulator comes when all have theirs who must have certain pCPUs, so that it takes none that is needed."""
    placement = book.taken[request.name]
    book.give_back(placement)
    book.take(with_emulator(placement, request, book.host(placement.host)))


def _within(choice: Assigned, book: OpenFleet, quotas: _Quotas) -> Sequence[Within]:
    """Where the pCPUs of each part are: as it is told, or in what the others leave of their node."""
    host = book.fleet.host(choice.host)
    if any(choice.l3):
        return [tuple((l3_domains(host.topology)[i], n) for i, n in uses) for uses in choice.l3]
    nodes = [home.cpu_node for home in choice.homes]
    if not any((choice.host, node) in quotas for node in nodes):
        return ()
    left = book.host(choice.host)
    return [_left_of(quotas.get((choice.host, node)), host, left.node(node)) for node in nodes]


def _left_of(quota: Mapping[int, int] | None, host: HostCapacity, left: NodeCapacity) -> Within:
    """The whole cores that a guest may have of which no L3 domain is told: of each domain what its quota leaves."""
    if quota is None:
        return ()
    cores = whole_cores(host.topology, left.free_cpus.ids)
    before = whole_cores(host.topology, host.node(left.node_id).free_cpus.ids)
    found = CpuSet()
    for i, cpus in enumerate(l3_domains(host.topology)):
        here = sorted((core for core in cores if core <= cpus.ids), key=lambda core: len(core & left.shared_cpus.ids))
        taken = sum(core <= cpus.ids for core in before) - len(here)
        found |= CpuSet.union(CpuSet(core) for core in here[: max(0, quota.get(i, 0) - taken)])
    return ((found, None),)


def _quotas(assigned: Sequence[Assigned], fleet: Fleet) -> _Quotas:
    told = {(choice.host, home.cpu_node) for choice in assigned if any(choice.l3) for home in choice.homes}
    needs: dict[tuple[HostName, int], Counter[tuple[int, bool]]] = defaultdict(Counter)
    cores: Counter[tuple[HostName, int]] = Counter()
    for choice in assigned if told else ():
        for node, uses, of_part in _parts(choice, fleet):
            cores[choice.host, node] += of_part
            for i, n in uses:
                needs[choice.host, node][i, of_part > 0] += n
    found: dict[tuple[HostName, int], Mapping[int, int]] = {}
    for at in told:
        host = fleet.host(at[0])
        domains = {i for i, _ in needs[at]}
        need = {i: L3Need(cores=needs[at][i, True], single=needs[at][i, False]) for i in domains}
        found[at] = deal_cores(l3_rooms(host, host.node(at[1])), need, cores[at])
    return found


def _parts(choice: Assigned, fleet: Fleet) -> list[tuple[int, tuple[tuple[int, int], ...], int]]:
    """The node of each part, its L3 domains as far as they are told, and its whole cores."""
    host, request = fleet.host(choice.host), choice.request.in_pages(choice.page_kib)
    parts = candidate_of(request, host, choice.homes).parts
    told: L3Use = choice.l3 or ((),) * len(parts)
    return [(part.home.cpu_node, uses, part.cores) for part, uses in zip(parts, told, strict=True)]
