"""Two embedded hosts, a ledger and three guests: what the tests of the transaction work on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from policies.capacity import HostCapacity
from policies.host_rules import HostRules, OutstandingClaim
from policies.plan import MemoryMode, Placement
from policies.promise import host_capacity
from policies.request import HostName
from probe.errors import SourceMalformedError
from probe.snapshot import HostSnapshot, Hypervisor
from probe.sources.registry import read_source
from scheduler.adopt import Adoption, Hosts, Present, adopt_guests
from scheduler.apply import Course, Order, Outcome, PlanAgain, Site, apply_orders
from scheduler.definitions.identity import Identity
from scheduler.definitions.render import render
from scheduler.destroy import destroy_guests
from scheduler.executors.port import (
    DefiniteFailureError,
    DomainDefinition,
    DomainFound,
    ExecutorError,
    HostUnreachableError,
    Observation,
    OutcomeUnknownError,
    observed_each,
)
from scheduler.executors.sim import SimExecutor
from scheduler.ledger import Claim, Ledger, fold
from scheduler.reconcile import reconcile
from scheduler.release import Release, release_guests
from scheduler.repair import Repair, repair_guests
from scheduler.sim.hypervisor import SimHypervisor
from scheduler.steps import CrashAt, Faults, NoFaults
from tests.scheduler.ledger.made import SNAPSHOT, placement
from tests.scheduler.sim.hosts import domain_xml, started

FLAVOURS = {"h1": Hypervisor.KVM, "h2": Hypervisor.XEN}


def on_xen(placed: Placement) -> Placement:
    """The same guest where memory follows the affinity."""
    cells = tuple(replace(cell, memory_mode=MemoryMode.AFFINITY) for cell in placed.cells)
    return replace(placed, host=HostName("h2"), cells=cells)


GUESTS = (
    placement("db", cpus="0-1", gib=2, dedicated=True),
    placement("web", node=1, cpus="4-7", vcpus=2),
    on_xen(placement("far", node=1, cpus="4-7", gib=3)),
)


@dataclass(frozen=True)
class World:
    """A folder with the two host files and the ledger; everything is opened anew for each act."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> World:
        folder.mkdir(parents=True, exist_ok=True)
        for name, flavour in FLAVOURS.items():
            SimHypervisor.create(folder / f"{name}.sim", SNAPSHOT, flavour, name=name).close()
        Ledger(folder / "ledger.sqlite").close()
        return cls(folder)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        ledger = Ledger(self.folder / "ledger.sqlite")
        yield ledger
        ledger.close()

    @contextmanager
    def sim(self, host: str = "h1") -> Iterator[SimHypervisor]:
        sim = SimHypervisor(self.folder / f"{host}.sim")
        yield sim
        sim.close()

    @contextmanager
    def sites(self, trouble: Trouble | None = None) -> Iterator[Mapping[str, Site]]:
        made = {name: self._connect(name, trouble) for name in FLAVOURS}
        yield {
            name: Site(
                executor=executor,
                connect=partial(self._connect, name, trouble),
                topology=SNAPSHOT.topology,
                look=self._look(name),
            )
            for name, executor in made.items()
        }
        for executor in made.values():
            executor.close()

    def _connect(self, host: str, trouble: Trouble | None) -> Troubled:
        if trouble is not None:
            trouble.connecting(host)
        return Troubled(SimExecutor(self.folder / f"{host}.sim"), trouble)

    def _look(self, host: str) -> Callable[[Sequence[OutstandingClaim]], HostCapacity]:
        def look(claims: Sequence[OutstandingClaim]) -> HostCapacity:
            return host_capacity(HostName(host), self.snapshot(host), HostRules(), claims)

        return look

    def snapshot(self, host: str) -> HostSnapshot:
        return read_source(f"sim:{self.folder / host}.sim")

    def apply(
        self,
        guests: Sequence[Placement] = GUESTS,
        *,
        trouble: Trouble | None = None,
        faults: Faults | None = None,
        retries: int = 2,
        plan_again: PlanAgain | None = None,
    ) -> dict[str, Outcome]:
        with self.ledger() as ledger, self.sites(trouble) as sites:
            orders = [order_of(guest, sites) for guest in guests]
            outcomes = apply_orders(
                orders, sites, ledger, Course(faults=faults or NoFaults(), retries=retries), plan_again
            )
        return {outcome.guest: outcome for outcome in outcomes}

    def destroy(self, *guests: str, trouble: Trouble | None = None, faults: Faults | None = None) -> dict[str, str]:
        with self.ledger() as ledger, self.sites(trouble) as sites:
            done = destroy_guests(ledger, sites, guests, faults=faults or NoFaults())
            return {guest: str(error or "") for guest, error in done.items()}

    def stranger(self, name: str = "theirs", host: str = "h1", *, inner: str = "", mib: int = 1024) -> str:
        """A running guest of somebody else, 2 vCPUs; its uuid."""
        with self.sim(host) as sim:
            uuid = started(sim, domain_xml(name, inner=inner, mib=mib))
            sim.resume(uuid)
        return uuid

    def adopt(
        self,
        *guests: str,
        trouble: Trouble | None = None,
        faults: Faults | None = None,
        rules: HostRules | None = None,
        dry_run: bool = False,
    ) -> dict[str, Adoption]:
        """Adopt these, or all where none is named."""
        with self.ledger() as ledger, self.sites(trouble) as sites:
            hosts = Hosts(present=self._present(sites, rules or HostRules()), unreached={})
            done = adopt_guests(ledger, hosts, guests or None, faults=faults or NoFaults(), dry_run=dry_run)
            return {each.guest: each for each in done}

    def _present(self, sites: Mapping[str, Site], rules: HostRules) -> dict[str, Present]:
        return {
            name: Present(site=site, rules=rules, read=partial(self.snapshot, name)) for name, site in sites.items()
        }

    def repair(
        self, *guests: str, trouble: Trouble | None = None, faults: Faults | None = None, dry_run: bool = False
    ) -> dict[str, Repair]:
        """Repair these, or all where none is named."""
        with self.ledger() as ledger, self.sites(trouble) as sites:
            hosts = self._present(sites, HostRules())
            done = repair_guests(ledger, hosts, guests or None, faults=faults or NoFaults(), dry_run=dry_run)
            return {each.guest: each for each in done}

    def release(self, *guests: str, trouble: Trouble | None = None, faults: Faults | None = None) -> dict[str, Release]:
        with self.ledger() as ledger, self.sites(trouble) as sites:
            done = release_guests(ledger, sites, guests, faults=faults or NoFaults())
            return {each.guest: each for each in done}

    def reconcile(self, *, trouble: Trouble | None = None, faults: Faults | None = None) -> tuple[Claim, ...]:
        with self.ledger() as ledger, self.sites(trouble) as sites:
            return reconcile(ledger, sites, faults=faults or NoFaults())

    def killed(self, act: str, point: str, *arguments: Any) -> None:
        """Do it in a process that dies at the point, as if it were killed there."""
        assert self.dies(act, point, *arguments), f"{act} did not come to {point}"

    def dies(self, act: str, point: str, *arguments: Any) -> bool:
        """Do it in a process that dies at the point; False where it ended before it came there."""
        child = multiprocessing.get_context("fork").Process(
            target=getattr(self, act), args=arguments, kwargs={"faults": CrashAt(point)}
        )
        child.start()
        child.join(60)
        assert child.exitcode in (0, 137)
        return child.exitcode == 137

    def states(self) -> dict[str, str]:
        with self.ledger() as ledger:
            return {claim.guest: claim.state.value for claim in ledger.claims()}

    def domains(self) -> dict[str, str]:
        """Guest to the state of its domain, on any host. No guest has two."""
        found: dict[str, str] = {}
        for host in FLAVOURS:
            with self.sim(host) as sim:
                for domain in sim.domains():
                    assert domain.wanted.name not in found
                    found[domain.wanted.name] = domain.state.value
        return found

    def marked(self) -> dict[str, str]:
        """Guest to the claim in our mark, on any host."""
        with self.ledger() as ledger:
            ours = ledger.ledger_id
        found: dict[str, str] = {}
        for host in FLAVOURS:
            with self.sim(host) as sim:
                found |= {d.wanted.name: str(d.wanted.claim) for d in sim.domains() if d.wanted.ledger == ours}
        return found

    def uuid(self, guest: str) -> str:
        with self.ledger() as ledger:
            claim = ledger.claim_of(guest)
        assert claim is not None
        return claim.uuid

    def event_count(self) -> int:
        with self.ledger() as ledger:
            return len(ledger.events())

    def agrees(self) -> None:
        """Books and hypervisors say the same; a (further) reconciliation changes nothing."""
        before = self.event_count()
        assert () == self.reconcile()
        assert before == self.event_count()
        with self.ledger() as ledger:
            assert fold(ledger.events()) == ledger.books()
            claims = ledger.claims()
            assert {claim.claim_id for claim in claims} >= set(ledger.books().holdings)
        assert not [claim for claim in claims if claim.state.is_under_way or claim.lease_s]
        present = {claim.guest: claim.claim_id for claim in claims if claim.state.value in ("active", "drifted")}
        assert present == self.marked()


def order_of(placed: Placement, sites: Mapping[str, Site]) -> Order:
    def make(identity: Identity) -> DomainDefinition:
        site = sites[placed.host]
        return render(placed, site.executor.kind, identity, topology=site.topology)

    return Order(placement=placed, render=make)


@dataclass
class Trouble:
    """What goes wrong at the nth call to any hypervisor. `fired` says whether it came to that.

    Attributes:
        kind: "refuse" (nothing was done, and it says so), "unreachable" (nothing was asked),
            "unreadable" (its answer is no XML),
            "lost-call" (nothing was done, nobody knows), "lost-reply" (done, nobody knows), or
            "dead" (as lost-reply, and every later call is unreachable), "refuse-dead" (as refuse, and
            every later call is unreachable).
    """

    kind: str
    nth: int
    calls: int = 0
    _lock: Lock = field(default_factory=Lock)

    @property
    def fired(self) -> bool:
        return self.calls >= self.nth

    def connecting(self, host: str) -> None:
        if self.kind in ("dead", "refuse-dead") and self.fired:
            raise HostUnreachableError(f"{host}: no connection")

    def before(self, call: str) -> int:
        """Which call this is; several hosts are called at the same time."""
        with self._lock:
            self.calls += 1
            number = self.calls
        if self.kind in ("dead", "refuse-dead") and number > self.nth:
            raise HostUnreachableError(f"{call}: no connection")
        if self.kind == "unreadable" and number == self.nth:
            raise SourceMalformedError(call, "well-formed XML", "<domain")
        errors: Mapping[str, type[ExecutorError]] = {
            "refuse": DefiniteFailureError,
            "refuse-dead": DefiniteFailureError,
            "unreachable": HostUnreachableError,
            "lost-call": OutcomeUnknownError,
        }
        if number == self.nth and self.kind in errors:
            raise errors[self.kind](f"{call}: {self.kind} on purpose")
        return number

    def after(self, call: str, number: int) -> None:
        if number == self.nth and self.kind in ("lost-reply", "dead"):
            raise OutcomeUnknownError(f"{call}: End of file while reading data")


class Troubled:
    """An executor whose calls may go wrong."""

    def __init__(self, executor: SimExecutor, trouble: Trouble | None) -> None:
        self._executor = executor
        self._trouble = trouble
        self.kind = executor.kind

    def _call(self, name: str, *arguments: Any) -> Any:
        if self._trouble is None:
            return getattr(self._executor, name)(*arguments)
        number = self._trouble.before(name)
        result = getattr(self._executor, name)(*arguments)
        self._trouble.after(name, number)
        return result

    def find(self, uuid: str) -> DomainFound | None:
        found: DomainFound | None = self._call("find", uuid)
        return found

    def list_domains(self) -> tuple[DomainFound, ...]:
        found: tuple[DomainFound, ...] = self._call("list_domains")
        return found

    def define(self, definition: DomainDefinition) -> None:
        self._call("define", definition)

    def start_paused(self, uuid: str) -> None:
        self._call("start_paused", uuid)

    def resume(self, uuid: str) -> None:
        self._call("resume", uuid)

    def destroy(self, uuid: str) -> None:
        self._call("destroy", uuid)

    def undefine(self, uuid: str) -> None:
        self._call("undefine", uuid)

    def set_mark(self, identity: Identity) -> None:
        self._call("set_mark", identity)

    def clear_mark(self, uuid: str) -> None:
        self._call("clear_mark", uuid)

    def rebind(self, uuid: str, placement: Placement) -> None:
        self._call("rebind", uuid, placement)

    def move_memory(self, uuid: str, placement: Placement) -> None:
        self._call("move_memory", uuid, placement)

    def observe(self, uuid: str) -> Observation:
        seen: Observation = self._call("observe", uuid)
        return seen

    def observe_all(self, uuids: Collection[str], *, memory: bool = True) -> Mapping[str, Observation | ExecutorError]:
        del memory
        return observed_each(uuids, self.observe)

    def close(self) -> None:
        self._executor.close()
