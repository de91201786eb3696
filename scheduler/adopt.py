"""Take guests that are there into the books, unchanged.

A claim is written with what the guest really has, then our mark into its metadata, then that the
claim is `active`. The guest goes on as it was: nothing of it is moved, pinned or restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.host_rules import HostRules
from policies.plan import Placement
from policies.promise import host_capacity
from policies.request import GUEST_NAME, HostName
from probe.errors import BadInputError, NumaplaceError
from probe.snapshot import HostSnapshot, Occupant
from scheduler.as_it_is import cpus_of_others, placement_as_it_is
from scheduler.executors.port import DomainFound, HostUnreachableError
from scheduler.handover import finish_adoption, is_half_adopted, marked_by_another
from scheduler.ledger import Claim, ConflictError, Ledger
from scheduler.steps import Bench, Faults, Site, Step, bears_mark, faults_from_environment

DOM0_UUID = "00000000-0000-0000-0000-000000000000"
"""Xen's own domain (`xl list -v` and libvirt say so); it is a guest of nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A host whose guests are adopted: open, with its rules, and how it is read."""

    site: Site
    rules: HostRules
    read: Callable[[], HostSnapshot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What became of one guest.

    Attributes:
        host: "" where it was not found.
        placement: what was taken into the books, or would be; None where nothing was.
        note: what is to be known besides, e.g. that no mark could be set; "" for nothing.
        error: why it was not adopted; None when it was, or is in the books already.
    """

    guest: str
    host: str
    placement: Placement | None = None
    note: str = ""
    error: NumaplaceError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts that were asked for: those that answer, and why the others do not."""

    present: Mapping[str, Present]
    unreached: Mapping[str, NumaplaceError]


def adopt_guests(
    ledger: Ledger,
    hosts: Hosts,
    guests: Sequence[str] | None,
    report: Callable[[], None] = lambda: None,
    *,
    dry_run: bool = False,
    faults: Faults | None = None,
) -> tuple[Adoption, ...]:
    """Adopt the named guests, or with None all that are in no books; `report` is called after each."""
    told = faults or faults_from_environment()
    domains, silent = _domains_by_name(hosts)
    looks: dict[str, HostSnapshot] = {}
    done = []
    for guest in sorted(domains) if guests is None else dict.fromkeys(guests):
        try:
            host, domain = _only_one(guest, domains.get(guest, []), silent)
        except NumaplaceError as error:
            done.append(Adoption(guest=guest, host="", error=error))
            continue
        bench = Bench(site=hosts.present[host].site, ledger=ledger, faults=told)
        if guests is not None or not _is_passed_over(ledger, host, domain):
            one = _Candidate(bench=bench, present=hosts.present[host], host=host, domain=domain, looks=looks)
            done.append(_adopted(one, dry_run=dry_run))
        report()
    return tuple(done)


_Domains = Mapping[str, Sequence[tuple[str, DomainFound]]]


def _domains_by_name(hosts: Hosts) -> tuple[_Domains, Mapping[str, NumaplaceError]]:
    """Guest to where there is one of its name; and the hosts that did not tell."""
    domains: dict[str, list[tuple[str, DomainFound]]] = {}
    silent = dict(hosts.unreached)
    for host, present in hosts.present.items():
        try:
            for domain in present.site.executor.list_domains():
                domains.setdefault(domain.guest, []).append((host, domain))
        except NumaplaceError as error:
            silent[host] = error
    return domains, silent


def _only_one(
    guest: str, found: Sequence[tuple[str, DomainFound]], silent: Mapping[str, NumaplaceError]
) -> tuple[str, DomainFound]:
    if len(found) == 1:
        return found[0]
    if found:
        hosts = ", ".join(host for host, _ in found)
        raise BadInputError(f"guest {guest}: is on {hosts}.", advice="Maybe say which one is meant: --host NAME")
    if silent:
        raise HostUnreachableError(f"guest {guest}: is on no host that answers; {', '.join(silent)} did not.")
    raise BadInputError(f"guest {guest}: is on none of the hosts.", advice="Maybe `numaplace probe` shows its name.")


def _is_passed_over(ledger: Ledger, host: str, domain: DomainFound) -> bool:
    """Whether "all" leaves it out: dom0, and what is in our books and settled."""
    if domain.uuid == DOM0_UUID:
        return True
    claim = ledger.claim_of(domain.guest)
    if claim is None or (claim.host, claim.uuid) != (host, domain.uuid):
        return False
    return not is_half_adopted(claim)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One domain that is to be adopted; `looks` keeps what was read of each host for all of its guests."""

    bench: Bench
    present: Present
    host: str
    domain: DomainFound
    looks: dict[str, HostSnapshot]

    def look(self, *, again: bool = False) -> HostSnapshot:
        if again or self.host not in self.looks:
            self.looks[self.host] = self.present.read()
        return self.looks[self.host]


def _adopted(one: _Candidate, *, dry_run: bool) -> Adoption:
    """The answer for one guest: adopted, in the books already, or why not."""
    answer = Adoption(guest=one.domain.guest, host=one.host)
    ledger = one.bench.ledger
    try:
        claim = ledger.claim_of(one.domain.guest)
        if claim is not None:
            return _known(one, claim, dry_run=dry_run)
        _may_be_adopted(ledger, one.host, one.domain)
        if dry_run:
            return replace(answer, placement=_seen(one, one.look()))
        try:
            claim = _in_the_books(one, one.look())
        except ConflictError:  # others reserved since the look; once more on a fresh one
            claim = _in_the_books(one, one.look(again=True))
        finish_adoption(one.bench, claim)
        return replace(answer, placement=claim.placement, note=ledger.events(claim.guest)[-1].note)
    except NumaplaceError as error:
        return replace(answer, error=error)


def _known(one: _Candidate, claim: Claim, *, dry_run: bool) -> Adoption:
    """A guest of its name is in the books: it, perhaps half adopted, or another.

    Raises:
        ConflictError: another guest; or somebody else works on it.
    """
    if (claim.host, claim.uuid) != (one.host, one.domain.uuid):
        raise ConflictError(
            f"guest {claim.guest}: another guest of this name is in the books, on {claim.host}.",
            host=claim.host,
            others=(claim.guest,),
            advice="Maybe one of the two is to be renamed: virsh domrename",
        )
    answer = Adoption(guest=claim.guest, host=one.host, placement=claim.placement, note="is in the books already")
    if dry_run or not is_half_adopted(claim):
        return answer
    ledger = one.bench.ledger
    finish_adoption(one.bench, ledger.take(claim))
    return replace(answer, note=ledger.events(claim.guest)[-1].note)


def _may_be_adopted(ledger: Ledger, host: str, domain: DomainFound) -> None:
    """Raises `BadInputError` or `ConflictError` for what is no guest that we may take."""
    if domain.uuid == DOM0_UUID:
        raise BadInputError(f"guest {domain.guest} on {host}: is Xen's own domain, not a guest.")
    if GUEST_NAME.fullmatch(domain.guest) is None:
        raise BadInputError(
            f"guest {domain.guest[:64]!r} on {host}: a name has letters, digits and . _ + @ - only, and at most 63.",
            advice="Maybe rename it while it is shut off: virsh domrename",
        )
    if domain.ledger not in (None, ledger.ledger_id):
        raise marked_by_another(domain, host)
    marked = ledger.claim(domain.claim) if domain.claim is not None else None
    if marked is not None and marked.state.is_live and bears_mark(ledger, marked, domain):
        raise ConflictError(
            f"guest {domain.guest} on {host}: bears the mark of guest {marked.guest}, which is in our books.",
            host=host,
            others=(marked.guest,),
            advice="Maybe it is a clone with the metadata of the original, or was renamed.",
        )


def _in_the_books(one: _Candidate, snapshot: HostSnapshot) -> Claim:
    """Write the claim, with what the guest has. Raises `ConflictError` where that was promised to others."""
    ledger, faults = one.bench.ledger, one.bench.faults
    placement = _seen(one, snapshot)
    claims = ledger.outstanding(one.host)
    capacity = host_capacity(HostName(one.host), snapshot, one.present.rules, claims)
    faults.at(Step.ADOPT, "before", one.domain.guest)
    claim = ledger.adopt(placement, one.domain.uuid, capacity, counted=[c.claim_id for c in claims])
    faults.at(Step.ADOPT, "after", one.domain.guest)
    return claim


def _seen(one: _Candidate, snapshot: HostSnapshot) -> Placement:
    """What the guest has now; its vCPUs one by one where it runs."""
    occupant, rules = _occupant_of(one.domain, one.host, snapshot), one.present.rules
    runs = one.domain.state.holds_memory
    return placement_as_it_is(
        occupant,
        HostName(one.host),
        snapshot,
        one.bench.site.executor.observe(one.domain.uuid) if runs else None,
        others=cpus_of_others(occupant, snapshot, rules, one.bench.ledger.outstanding(one.host)),
        overhead_kib=rules.guest_overhead_kib,
    )


def _occupant_of(domain: DomainFound, host: str, snapshot: HostSnapshot) -> Occupant:
    for occupant in snapshot.occupants:
        if occupant.uuid == domain.uuid:
            return occupant
    raise BadInputError(
        f"guest {domain.guest} on {host}: is not among the guests that the host's sources tell of.",
        advice=f"Maybe add the URI that guests are created through to the sources of {host}.",
    )
