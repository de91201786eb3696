"""Hosts and nodes that are emptied: who has to go, and what is free then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from policies.as_placed import housekeeping_near, request_as_placed
from policies.groups import nodes_of
from policies.host_rules import OutstandingClaim
from policies.memory_shares import Place, given_back
from policies.plan import Placement
from policies.request import GuestRequest, RequestInvalidError
from policies.tenants import Tenant, tenants
from probe.cpuset import CpuSet
from probe.snapshot import HostSnapshot, Hypervisor, NodeMemory, Occupant
from scheduler.adopt import DOM0_UUID
from scheduler.files.fleet_file import FleetGuest
from scheduler.ledger import WHOLE_HOST, Cordon
from scheduler.planning import HostView, still_as_asked
from scheduler.what_if.change import Drain, Lose
from scheduler.what_if.supposed import AskedAgain, NotPlanned, Supposed


def drained(supposed: Supposed, change: Drain) -> Supposed:
    """Close the host or the node, and ask for its guests again; who is in no books stays, and is named.

    Raises:
        ChangeInvalidError: there is no such host or node.
    """
    if change.node is None and change.host in supposed.unread:
        return _gone_unread(supposed, change.host)
    view, node = supposed.view(change.host, change), change.node
    if node is not None:
        supposed.node_of(view, node, change)
    closed = Cordon(host=change.host, node=WHOLE_HOST if node is None else node, since=view.snapshot.taken_at)
    supposed = emptied(
        supposed,
        view,
        lambda placement: node is None or _touches(placement, view.snapshot, node),
        lambda occupant: node is None or _may_be_on(occupant, view.snapshot, node),
    )
    left = supposed.view(change.host, change)
    return supposed.with_view(replace(left, cordons=(*left.cordons, closed)))


def lost(supposed: Supposed, change: Lose) -> Supposed:
    """Take the host away, and ask for its guests again. Raises `ChangeInvalidError`."""
    if change.host in supposed.unread:
        return _gone_unread(supposed, change.host)
    view = supposed.view(change.host, change)
    supposed = emptied(supposed, view, lambda _: True, lambda _: True)
    return replace(supposed, views=tuple(v for v in supposed.views if v.config.name != change.host))


def emptied(
    supposed: Supposed,
    view: HostView,
    goes: Callable[[Placement], bool],
    stranger_goes: Callable[[Occupant], bool],
) -> Supposed:
    """Take the guests that go out of a host, and ask for them again. Strangers that should go are named, and stay."""
    leaving = [claim for claim in view.claims if goes(claim.placement)]
    ours = {id(tenant.occupant) for _, tenant in _ours(view)}
    strangers = tuple(
        NotPlanned(guest=o.guest, host=view.config.name, why="it is in no books (`numaplace adopt` takes it into them)")
        for o in view.snapshot.occupants
        if id(o) not in ours and o.uuid != DOM0_UUID and stranger_goes(o)
    )
    supposed = replace(supposed, not_planned=(*supposed.not_planned, *strangers))
    supposed = _asked_again(supposed, leaving, view.snapshot.hypervisor)
    return supposed.with_view(without_claims(view, {claim.claim_id for claim in leaving}))


def _gone_unread(supposed: Supposed, host: str) -> Supposed:
    """A host that could not be read: the books tell who is there."""
    claims = supposed.unread[host]
    away = tuple(capacity for capacity in supposed.standing.away if capacity.name != host)
    supposed = replace(
        supposed,
        standing=replace(supposed.standing, away=away),
        unread={name: each for name, each in supposed.unread.items() if name != host},
        notes=(*supposed.notes, f"{host} could not be read: its guests are those of the books."),
    )
    return _asked_again(supposed, claims, None)


def _asked_again(supposed: Supposed, claims: Collection[OutstandingClaim], hypervisor: Hypervisor | None) -> Supposed:
    """Guests of the fleet file are asked for as it says, the others as they are.

    Raises:
        BadInputError: the fleet file asks for one in another size than it has.
    """
    asked = {guest.request.name: guest.request for guest in supposed.guests}
    homes = dict(supposed.standing.homes)
    guests, again, not_planned = list(supposed.guests), list(supposed.asked_again), list(supposed.not_planned)
    for home in (claim.placement for claim in claims):
        as_it_is = home.guest not in asked
        if as_it_is:
            try:
                guests.append(FleetGuest(request=_as_it_is(home, supposed, hypervisor)))
            except RequestInvalidError as error:
                not_planned.append(NotPlanned(guest=home.guest, host=home.host, why=error.message))
                continue
        else:
            still_as_asked(asked[home.guest], home)
            del homes[home.guest]
        again.append(AskedAgain(guest=home.guest, host=home.host, as_it_is=as_it_is))
    return replace(
        supposed,
        guests=tuple(guests),
        standing=replace(supposed.standing, homes=homes),
        asked_again=tuple(again),
        not_planned=tuple(not_planned),
    )


def _as_it_is(home: Placement, supposed: Supposed, hypervisor: Hypervisor | None) -> GuestRequest:
    """Where hosts of both hypervisors are planned on, it keeps to those of its own."""
    most_nodes = max((len(view.snapshot.topology.nodes) for view in supposed.views), default=1)
    view = next((view for view in supposed.views if view.config.name == home.host), None)
    kept = CpuSet()  # of a host that was not read
    if view is not None:
        kept = view.config.rules.housekeeping_cpus & view.snapshot.usable_cpus
        kept = housekeeping_near(home, view.snapshot.topology, kept)
    request = request_as_placed(home, most_nodes=most_nodes, housekeeping_cpus=kept)
    kinds = {view.config.name: view.snapshot.hypervisor for view in supposed.views}
    same = frozenset(name for name, kind in kinds.items() if hypervisor is None or kind in (None, hypervisor))
    return request if len(same) == len(kinds) else replace(request, hosts=same)


def _ours(view: HostView) -> Iterator[tuple[OutstandingClaim, Tenant]]:
    """Each claim with who is there for it."""
    everybody = tenants(view.snapshot, view.config.rules, view.claims)
    return zip(view.claims, everybody, strict=False)  # strangers stand behind the claims


def without_claims(view: HostView, claims: Collection[str]) -> HostView:
    """The host once the guests of these claims have gone: what they had is free."""
    gone = [tenant for claim, tenant in _ours(view) if claim.claim_id in claims]
    occupants = {id(tenant.occupant) for tenant in gone}
    freed: Counter[Place] = Counter()
    for tenant in gone:
        freed.update(given_back(view.snapshot, view.config.rules, tenant))
    snapshot = replace(
        view.snapshot,
        occupants=tuple(o for o in view.snapshot.occupants if id(o) not in occupants),
        memory=tuple(_with_free(memory, freed) for memory in view.snapshot.memory),
    )
    return replace(view, snapshot=snapshot, claims=tuple(c for c in view.claims if c.claim_id not in claims))


def _with_free(memory: NodeMemory, freed: Counter[Place]) -> NodeMemory:
    """Never more free than there is."""
    pools = tuple(
        pool
        if pool.free is None
        else replace(pool, free=min(pool.total, pool.free + freed[memory.node_id, pool.size_kib] // pool.size_kib))
        for pool in memory.hugepages
    )
    if memory.free_kib is None:
        return replace(memory, hugepages=pools)
    free_kib = memory.free_kib + freed[memory.node_id, 4]
    if memory.total_kib is not None:
        free_kib = max(memory.free_kib, min(free_kib, memory.total_kib - memory.hugepages_kib))
    return replace(memory, hugepages=pools, free_kib=free_kib)


def _touches(placement: Placement, snapshot: HostSnapshot, node: int) -> bool:
    """Whether vCPUs, memory or emulator threads of a guest are on a node, or may be."""
    nodes = nodes_of(placement)
    emulator = placement.emulator_cpus or CpuSet()
    return nodes is None or node in nodes or not emulator.isdisjoint(snapshot.topology.node(node).cpus)


def _may_be_on(occupant: Occupant, snapshot: HostSnapshot, node: int) -> bool:
    """Whether vCPUs or memory of a guest may be on a node, as far as anybody tells."""
    cpus = snapshot.topology.node(node).cpus
    if not occupant.memory or not occupant.possible_cpus(snapshot.topology.online_cpus).isdisjoint(cpus):
        return True
    return any(
        share.node_id == node if share.node_id is not None else share.nodes is None or node in share.nodes
        for share in occupant.memory
    )
