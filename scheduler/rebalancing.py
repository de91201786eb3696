"""From the books and what is seen to a question for rebalancing: who may be moved, how, and who may not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from policies.capacity import HostCapacity
from policies.check import violations
from policies.errors import DoesNotFitError
from policies.fleet import Fleet
from policies.groups import GroupBook, nodes_of
from policies.host_rules import OutstandingClaim
from policies.objective import DEFAULT_OBJECTIVE, Objective
from policies.promise import host_capacity
from policies.rebalance.question import Budget, Question, Standing, asked_by, memory_can_follow, merged
from policies.rebalance.verify import violations_of_steps, with_room_for
from policies.request import GuestName, GuestRequest, HostName, RequestInvalidError
from policies.tenants import occupant_of
from probe.cpuset import NodeId
from probe.errors import BadInputError
from probe.snapshot import Hypervisor, OccupantState
from scheduler.ledger import WHOLE_HOST, Claim, State
from scheduler.planning import HostView, grouped_as_asked, levels_are_known, still_as_asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator wants and allows.

    Attributes:
        told: what guests ask for by a fleet file, those in the books and others.
        wanted: guests that are to find a place.
        migrate: whether guests may go to other hosts.
        objective: what is to get better.
    """

    told: Mapping[GuestName, GuestRequest] = field(default_factory=dict)
    wanted: tuple[GuestRequest, ...] = ()
    budget: Budget = field(default_factory=Budget)
    migrate: bool = False
    objective: Objective = DEFAULT_OBJECTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Why a guest is not moved, or not everywhere. `wholly`: it is not even re-pinned."""

    guest: str
    host: str
    why: str
    wholly: bool


def question_of(
    views: Sequence[HostView], claims: Sequence[Claim], wish: Wish, away: Sequence[HostCapacity] = ()
) -> tuple[Question, tuple[Held, ...]]:
    """The question, and what holds each guest that cannot go everywhere.

    Args:
        claims: of the books; those of hosts that were not read are passed over.
        away: hosts that were not read and have members of groups.

    Raises:
        BadInputError: a guest is asked for in another size than it has, no host knows the level of a group,
            or what is there contradicts itself.
    """
    by_id = {claim.claim_id: claim for claim in claims}
    views = [grouped_as_asked(view, wish.told) for view in views]
    held: dict[str, Held] = {}
    guests: dict[str, Standing] = {}
    for view in views:
        for claim in view.claims:
            found = _standing(view, claim, by_id.get(claim.claim_id), wish)
            if isinstance(found, Held):
                held[claim.claim_id] = found
            else:
                guests[claim.claim_id] = found
    while True:
        question = _question(views, guests, wish, away)
        stuck = dict(_stuck(views, guests, question))
        if not stuck:
            break
        held |= stuck
        guests = {claim_id: guest for claim_id, guest in guests.items() if claim_id not in stuck}
    levels_are_known([*(g.request for g in question.guests), *wish.wanted], question.fleet)
    if broken := violations_of_steps(question, (), ()):
        raise BadInputError(
            f"what is there breaks a rule already: {broken[0]}.", advice="Maybe look first: numaplace status"
        )
    limits = [limit for guest in question.guests if (limit := _limit(guest, question, wish)) is not None]
    return question, (*held.values(), *limits)


def _standing(view: HostView, claim: OutstandingClaim, known: Claim | None, wish: Wish) -> Standing | Held:
    """The guest as it may be moved, or why it may not. Raises `BadInputError`."""
    home, host = claim.placement, view.config.name
    why = _why_not(view, claim, known)
    if why:
        return Held(guest=home.guest, host=host, why=why, wholly=True)
    try:
        request = asked_by(
            home, view.snapshot.topology, view.config.rules.housekeeping_cpus & view.snapshot.usable_cpus
        )
    except RequestInvalidError as error:
        return Held(guest=home.guest, host=host, why=error.message, wholly=True)
    if home.guest in wish.told:
        still_as_asked(wish.told[home.guest], home)
        request = merged(request, wish.told[home.guest])
    return Standing(
        request=request,
        placement=home,
        memory_follows=memory_can_follow(home, view.snapshot.hypervisor),
        may_migrate=wish.migrate,
    )


def _why_not(view: HostView, claim: OutstandingClaim, known: Claim | None) -> str:
    """Why a guest of the books is not touched; "" where it may be."""
    if known is None or known.state in (State.PLANNED, State.RESERVED):
        return "is not created yet"
    if known.adopted:
        return "was adopted: what it asks for is not known"
    if known.state is State.DRIFTED:
        return f"has drifted; first: numaplace repair {known.guest}"
    if known.state is not State.ACTIVE:
        return f"is {known.state.value}; first: numaplace status --reconcile"
    occupant = occupant_of(claim, view.snapshot.occupants)
    if occupant is not None and occupant.state is OccupantState.SHUTOFF:
        return "does not run"
    return ""


def _question(
    views: Sequence[HostView], guests: Mapping[str, Standing], wish: Wish, away: Sequence[HostCapacity]
) -> Question:
    """With these guests lifted out of the fleet, and its cordons."""
    hosts = [
        host_capacity(
            view.config.name,
            view.snapshot,
            replace(view.config.rules, schedulable=True),
            view.claims,
            leaving=guests.keys() & {claim.claim_id for claim in view.claims},
        )
        for view in views
    ]
    closed = {(view.config.name, cordon.node) for view in views for cordon in view.cordons}
    no_more = {view.config.name for view in views if not view.config.rules.schedulable}
    return Question(
        fleet=Fleet.of([*hosts, *away]),
        guests=tuple(guests.values()),
        wanted=wish.wanted,
        fixed=tuple(c.placement for view in views for c in view.claims if c.claim_id not in guests),
        budget=wish.budget,
        objective=wish.objective,
        closed_hosts=frozenset(no_more | {HostName(host) for host, node in closed if node == WHOLE_HOST}),
        closed_nodes=frozenset((HostName(host), NodeId(node)) for host, node in closed if node != WHOLE_HOST),
    )


def _stuck(views: Sequence[HostView], guests: Mapping[str, Standing], question: Question) -> Iterator[tuple[str, Held]]:
    """Guests that could not be placed where they stand: who runs on their pCPUs, say, or what their entry asks for."""
    book = GroupBook(question.fleet)
    for guest in question.guests:
        book.book(guest.placement, question.fleet.host(guest.placement.host), sign=1)
    for claim_id, guest in guests.items():
        home, host = guest.placement, question.fleet.host(guest.placement.host)
        why = _what_it_breaks(guest, host)
        book.book(home, host, sign=-1)
        why = why or book.conflict(home.groups, host, nodes_of(home))
        book.book(home, host, sign=1)
        if why:
            yield claim_id, Held(guest=home.guest, host=home.host, why=f"as it stands, {why}", wholly=True)


def _what_it_breaks(guest: Standing, host: HostCapacity) -> str:
    alone = Fleet.of([replace(with_room_for(host, [guest.placement]), residents=())])
    try:
        broken = violations([guest.placement], [guest.request], alone)
    except DoesNotFitError as error:
        return error.message.removesuffix(".")
    return broken[0].text.removeprefix(f"{guest.request.name}: ") if broken else ""


def _limit(guest: Standing, question: Question, wish: Wish) -> Held | None:
    """What holds a guest on its nodes; None where nothing does."""
    if guest.memory_follows or wish.migrate:
        return None
    home = guest.placement
    if question.fleet.host(home.host).hypervisor is Hypervisor.XEN:
        why = "Xen moves no memory"
    elif any(share.page_kib != 4 for cell in home.cells for share in cell.memory):
        why = "huge pages do not move"
    else:
        why = f"memory mode {home.cells[0].memory_mode.value} holds"
    return Held(guest=home.guest, host=home.host, why=f"stays on its nodes while it runs: {why}", wholly=False)
