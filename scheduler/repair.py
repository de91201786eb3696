"""Bring guests that drifted back to where the plan says, as far as that can be done while they run.

Their threads are bound anew; where memory is astray it is let go to its planned nodes, if those
have room, and then it is looked how far it came: the kernel moves pages for some seconds, and not
always all (cgroup v2, "cpuset.mems"; lab/kvm). What cannot move says which mode forbids it. Nothing
here stops, starts or harms a guest, so there is nothing to undo: a repair that died is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from probe.errors import NumaplaceError
from probe.snapshot import HostSnapshot
from probe.units import format_kib
from scheduler.adopt import Present
from scheduler.destroy import claim_to_end
from scheduler.executors.port import CannotMoveError, Observation
from scheduler.ledger import Claim, ConflictError, Ledger, State
from scheduler.steps import Bench, Faults, NotRunningError, Step, faults_from_environment, find_ours
from scheduler.verify import Figures, figures

PATIENCE_S = 300.0
"""How long pages are waited for that go on moving."""

STILL_S = 5.0
"""Pages that did not move for so long have come to rest (seen: all of 300 MiB within 5 s)."""

LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What became of one guest.

    Attributes:
        host: "" where it is in no books.
        before, after: None where it was not looked at; `after` also where nothing was tried.
        cannot: why its memory was not asked to move; "" where it was, or needed not.
        error: why nothing is known of it.
    """

    guest: str
    host: str = ""
    before: Figures | None = None
    after: Figures | None = None
    cannot: str = ""
    error: NumaplaceError | None = None

    @property
    def exit_status(self) -> int:
        """0 where it is as planned now; 4 where it is not."""
        if self.error is not None:
            return self.error.exit_status
        seen = self.after or self.before
        return 4 * bool(seen is None or seen.problems)


def repair_guests(
    ledger: Ledger,
    hosts: Mapping[str, Present],
    guests: Sequence[str] | None,
    report: Callable[[], None] = lambda: None,
    *,
    dry_run: bool = False,
    faults: Faults | None = None,
) -> tuple[Repair, ...]:
    """Repair these guests one after the other; None: every one that was created, on the hosts at hand."""
    told = faults or faults_from_environment()
    if guests is None:
        guests = [c.guest for c in ledger.claims(states=(State.ACTIVE, State.DRIFTED)) if c.host in hosts]
    done = []
    for guest in dict.fromkeys(guests):
        try:
            claim = _created(claim_to_end(ledger, {name: host.site for name, host in hosts.items()}, guest))
            bench = Bench(site=hosts[claim.host].site, ledger=ledger, faults=told)
            work = _Work(bench=bench, claim=claim, read=hosts[claim.host].read)
            done.append(work.looked_at() if dry_run else work.repaired())
        except NumaplaceError as error:
            known = ledger.claim_of(guest)
            done.append(Repair(guest=guest, host=known.host if known else "", error=error))
        report()
    return tuple(done)


def _created(claim: Claim) -> Claim:
    """Raises `ConflictError` for a guest that is half made, half destroyed, or gone."""
    if claim.state in (State.ACTIVE, State.DRIFTED):
        return claim
    raise ConflictError(
        f"is {claim.state.value}",
        host=claim.host,
        others=(claim.guest,),
        advice="Maybe look first: numaplace status --reconcile",
    )


@dataclass(slots=True, kw_only=True)
class _Work:
    """One guest under repair."""

    bench: Bench
    claim: Claim
    read: Callable[[], HostSnapshot]

    def looked_at(self) -> Repair:
        """Change nothing."""
        return Repair(guest=self.claim.guest, host=self.claim.host, before=self._figures(self._seen()))

    def repaired(self) -> Repair:
        """Bind and move what is not as planned; the books say what came of it."""
        claim, executor = self.claim, self.bench.site.executor
        before = after = self._figures(self._seen())
        cannot = ""
        if before.problems:
            self._record(claim.state, "begun: " + "; ".join(before.problems))
            self.bench.faults.at(Step.REPAIR, "before", claim.guest)
            executor.rebind(claim.uuid, claim.placement)
            seen = self._seen()
            after = self._figures(seen)
            if after.problems:
                cannot = self._moved(seen)
                after = after if cannot else self._at_rest()
            self.bench.faults.at(Step.REPAIR, "after", claim.guest)
        state = State.DRIFTED if after.problems else State.ACTIVE
        if before.problems or state is not claim.state:
            self._record(state, "; ".join([*after.problems, *([cannot] if cannot else [])]))
        return Repair(guest=claim.guest, host=claim.host, before=before, after=after, cannot=cannot)

    def _seen(self) -> Observation:
        """Where it is. Raises `NotRunningError`, `ExecutorError`."""
        found = find_ours(self.bench, self.claim)
        if found is None or not found.state.holds_memory:
            what = "gone" if found is None else found.state.value
            raise NotRunningError(f"its domain is {what}; there is nothing to repair")
        return self.bench.site.executor.observe(self.claim.uuid)

    def _figures(self, seen: Observation) -> Figures:
        return figures(self.claim.placement, seen, self.bench.site.topology)

    def _moved(self, seen: Observation) -> str:
        """Ask for its memory to move; why that cannot be, or ""."""
        lacking = list(_lacking(self.claim, seen, self.read()))
        try:
            if lacking:
                raise CannotMoveError(f"its memory has no room where it belongs: {'; '.join(lacking)}")
            self.bench.site.executor.move_memory(self.claim.uuid, self.claim.placement)
        except CannotMoveError as error:
            return error.message
        return ""

    def _at_rest(self) -> Figures:
        """Look until all is as planned, or no page moves any more."""
        now = self._seen()
        began = moved = time.monotonic()
        while self._figures(now).problems and time.monotonic() - moved < STILL_S:
            time.sleep(LOOK_EVERY_S)
            last, now = now, self._seen()
            if now.resident_kib != last.resident_kib and time.monotonic() - began < PATIENCE_S:
                moved = time.monotonic()
        return self._figures(now)

    def _record(self, state: State, note: str) -> None:
        self.claim = self.bench.ledger.move(self.claim, state, step=Step.REPAIR, note=note)


def _lacking(claim: Claim, seen: Observation, snapshot: HostSnapshot) -> Iterator[str]:
    """Planned nodes without room for what is to come there: the kernel would kill the guest for it."""
    wanted: dict[tuple[int, int], int] = {}
    for cell in claim.placement.cells:
        for share in cell.memory:
            if share.node_id is not None:
                place = share.node_id, share.page_kib
                wanted[place] = wanted.get(place, 0) + share.kib
    resident = seen.resident_kib or {}
    for (node_id, page_kib), kib in sorted(wanted.items()):
        missing = kib - min(kib, resident.get(node_id, 0))
        room = _room_kib(snapshot, node_id, page_kib)
        if room is not None and room < missing:
            yield f"node {node_id} has {format_kib(room)} left, {format_kib(missing)} are needed"


def _room_kib(snapshot: HostSnapshot, node_id: int, page_kib: int) -> int | None:
    """What could be taken there now, in pages of this size; None where it is not told."""
    memory = next(each for each in snapshot.memory if each.node_id == node_id)
    if page_kib == 4:  # the base page
        return memory.available_kib
    pools = [pool.free for pool in memory.hugepages if pool.size_kib == page_kib]
    return pools[0] * page_kib if pools and pools[0] is not None else None
