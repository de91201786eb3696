"""From a plan file to orders: is it still sound on these hosts, and is every definition right?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from policies.plan import Placement
from probe.errors import BadInputError, NumaplaceError
from probe.snapshot import HostSnapshot
from scheduler.apply import Course, Order, Outcome, Site, apply_orders
from scheduler.definitions.identity import Identity
from scheduler.definitions.render import guest_uuid, render
from scheduler.definitions.shared_devices import check_shared_devices
from scheduler.definitions.template import default_template
from scheduler.executors.port import DomainDefinition
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.guest_template import template_of
from scheduler.ledger import ConflictError, Ledger, State, shortages
from scheduler.plan_check import check_plan
from scheduler.plan_file import PlanFile, plan_hash
from scheduler.reading import Reading
from scheduler.replan import Replanner
from scheduler.sites import open_sites


class HypotheticalPlanError(BadInputError):
    """A plan was made for a fleet that is not so (`--what-if`); nothing of it is applied."""


def apply_plan(  # noqa: PLR0913 (one call of the command line)
    file: PlanFile,
    configs: Sequence[HostConfig],
    reading: Reading,
    ledger: Ledger,
    course: Course,
    *,
    dry_run: bool = False,
    share: bool = False,
) -> tuple[Outcome, ...]:
    """Create every placed guest of a plan; a dry run does all but create, on the same path.

    Guests of a host that is in another ledger's books too are left alone, and say so, unless `share`.
    A guest that an earlier apply of this plan moved stays where that has put it.

    Raises:
        BadInputError: a host of the plan is in no hosts file, it breaks a hard rule, or two guests
            share a disk or a MAC.
        ConflictError: a host's topology is not the plan's any more.
        HypotheticalPlanError: it was made for a fleet that is not so.
    """
    _is_of_the_fleet_as_it_is(file)
    course = replace(course, plan_hash=plan_hash(file))
    homes = _homes(file, ledger, course.plan_hash)
    _hosts_are_as_planned(file, {home.host for home in homes}, configs, reading.snapshots)
    check_plan(file, configs, reading.snapshots, ledger)
    with open_sites(configs, reading) as (opened, unreached):
        closed = {**unreached, **({} if share else _in_other_books(opened, ledger))}
        sites = {host: site for host, site in opened.items() if host not in closed}
        desk = _Desk(file, ledger)
        orders = [desk.order(home, sites[home.host]) for home in homes if home.host in sites]
        desk.check()
        if dry_run:
            done = tuple(_rehearsed(order, sites[order.placement.host], ledger) for order in orders)
        else:
            usable = [config for config in configs if config.name in sites]
            again = Replanner(
                file=file, configs=usable, everywhere=configs, sites=sites, ledger=ledger, order=desk.moved
            )
            done = apply_orders(orders, sites, ledger, course, again)
        others = [_left_alone(home, ledger, closed[home.host]) for home in homes if home.host in closed]
    by_guest = {outcome.guest: outcome for outcome in (*done, *others)}
    return tuple(by_guest[placement.guest] for placement in file.plan.placements)


def _is_of_the_fleet_as_it_is(file: PlanFile) -> None:
    if file.hypothetical:
        raise HypotheticalPlanError(
            f"the plan is hypothetical ({', '.join(file.hypothetical)}): nothing of it is applied.",
            advice="Maybe plan again without --what-if, once the fleet is so.",
        )


def _rehearsed(order: Order, site: Site, ledger: Ledger) -> Outcome:
    """What would become of a guest: one in the books stays as it is, another needs an open host with room."""
    placement = order.placement
    claim = ledger.claim_of(placement.guest)
    if claim is not None:
        return Outcome(guest=placement.guest, host=claim.host, state=claim.state)
    try:
        ledger.cordons.welcome(placement)
        lacking = "; ".join(shortages(placement, site.look(ledger.outstanding(placement.host))))
        status = ConflictError.exit_status if lacking else 0
    except NumaplaceError as error:
        lacking, status = str(error), error.exit_status
    return Outcome(guest=placement.guest, host=placement.host, state=State.PLANNED, exit_status=status, note=lacking)


def _homes(file: PlanFile, ledger: Ledger, plan: str) -> tuple[Placement, ...]:
    """Each guest's place: as planned, or where this plan's guest was moved to when the world had changed."""
    moved = {claim.guest: claim.placement for claim in ledger.claims() if claim.plan_hash == plan}
    return tuple(moved.get(placement.guest, placement) for placement in file.plan.placements)


class _Desk:
    """Where orders are made from a plan. No two of its guests may share a disk or a MAC."""

    def __init__(self, file: PlanFile, ledger: Ledger) -> None:
        self._file, self._ledger = file, ledger
        self._guests = {guest.request.name: guest for guest in file.guests}
        self._adopted = {claim.guest for claim in ledger.claims() if claim.adopted}  # somebody else defined these
        self._drafts: dict[str, tuple[str, DomainDefinition]] = {}

    def order(self, home: Placement, site: Site) -> Order:
        """Raises `BadInputError` where the guest cannot be defined there."""
        order = _order(home, self._guests[home.guest], self._file, site)
        if home.guest not in self._adopted:
            self._drafts[home.guest] = (home.host, order.render(_draft(self._ledger, home)))
        return order

    def check(self) -> None:
        """Raises `SharedDeviceError`, a `BadInputError`."""
        check_shared_devices(self._drafts.values())

    def moved(self, home: Placement, site: Site) -> Order:
        """The order of a guest at its new home. Raises `BadInputError`."""
        order = self.order(home, site)
        self.check()
        return order


def _in_other_books(sites: Mapping[str, Site], ledger: Ledger) -> Mapping[str, NumaplaceError]:
    """Hosts with domains that bear another ledger's mark, or that do not tell; and why."""
    found: dict[str, NumaplaceError] = {}
    for host, site in sites.items():
        try:
            domains = site.executor.list_domains()
        except NumaplaceError as error:
            found[host] = error
            continue
        theirs = sorted(d.guest for d in domains if d.ledger not in (None, ledger.ledger_id))
        if theirs:
            more = f" and {len(theirs) - 1} more" if len(theirs) > 1 else ""
            found[host] = ConflictError(
                f"{host}: guest {theirs[0]}{more} bears the mark of another ledger.",
                host=host,
                others=tuple(theirs),
                advice="Maybe two numaplace work on one host, each with books of its own: --share takes"
                " their guests for strangers.",
            )
    return found


def _left_alone(placement: Placement, ledger: Ledger, error: NumaplaceError) -> Outcome:
    """A guest whose host does not answer, or is somebody else's: nothing was done."""
    claim = ledger.claim_of(placement.guest)
    state = State.PLANNED if claim is None else claim.state
    return Outcome(
        guest=placement.guest, host=placement.host, state=state, exit_status=error.exit_status, note=str(error)
    )


def _hosts_are_as_planned(
    file: PlanFile, needed: Set[str], configs: Sequence[HostConfig], snapshots: Mapping[str, HostSnapshot]
) -> None:
    known = {config.name for config in configs}
    if strange := sorted(needed - known):
        raise BadInputError(
            f"the plan places guests on {strange[0]}, which is in no hosts file.",
            advice="Maybe give the hosts file that the plan was made with: --hosts.",
        )
    if untold := sorted(needed - {host.name for host in file.hosts}):
        raise BadInputError(
            f"the plan places guests on {untold[0]} and does not say which topology that had.",
            advice="Maybe it was edited: plan again.",
        )
    for host in file.hosts:
        now = snapshots.get(host.name) if host.name in needed else None
        if now is not None and now.topology.fingerprint() != host.fingerprint:
            raise ConflictError(
                f"{host.name}: its topology is not the one that was planned on at {host.taken_at:%Y-%m-%d %H:%M} UTC.",
                advice="Maybe a CPU or a node went offline: plan again.",
            )


def _order(placement: Placement, guest: FleetGuest, file: PlanFile, site: Site) -> Order:
    kind = site.executor.kind
    if guest.template is None:
        template = default_template(kind, guest.variables)
    else:
        template = template_of(guest, guest.template, file.templates)

    def make(identity: Identity) -> DomainDefinition:
        return render(placement, kind, identity, template=template, topology=site.topology)

    return Order(placement=placement, render=make)


def _draft(ledger: Ledger, placement: Placement) -> Identity:
    """The identity of a definition that is only looked at."""
    return Identity(uuid=guest_uuid(ledger.ledger_id, placement.guest), ledger=ledger.ledger_id, claim="draft")
