"""From requests and hosts to a plan that was checked by somebody else than its maker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.host_rules import OutstandingClaim
from policies.plan import Decision, Placement, Plan
from policies.policy import Effort
from policies.promise import host_capacity
from policies.registry import PEERS, load_policy
from policies.request import GuestRequest
from probe.cpuset import NodeSet
from probe.errors import BadInputError, NumaplaceError
from probe.snapshot import HostSnapshot
from probe.units import format_kib
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig, check_host
from scheduler.ledger import WHOLE_HOST, Cordon, Ledger
from scheduler.plan_file import PlanFile, PlanHost


def _still_as_asked(request: GuestRequest, home: Placement) -> None:
    """Raises `BadInputError` where a guest in the books is not what the fleet file asks for now."""
    memory = [share for cell in home.cells for share in cell.memory]
    sizes = {
        "vcpus": (sum(len(cell.vcpus) for cell in home.cells), request.vcpus),
        "memory": (format_kib(sum(share.kib for share in memory)), format_kib(request.memory_kib)),
        "page_size": (format_kib(max(share.page_kib for share in memory)), format_kib(request.page_kib)),
        "cpus": ("dedicated" if home.dedicated else "shared", request.cpus.value),
    }
    for key, (has, asked) in sizes.items():
        if has != asked:
            raise BadInputError(
                f"guest {request.name}: is on {home.host} with {key} {has}, and {asked} is asked for.",
                advice=f"Maybe it is to be made anew: numaplace destroy {request.name}, then plan again.",
            )


class PlanUnsoundError(NumaplaceError):
    """A policy broke a hard rule. That is a bug of the policy; nothing may be applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host as it is planned on: how it is described, what was seen, what is promised there and closed."""

    config: HostConfig
    snapshot: HostSnapshot
    claims: tuple[OutstandingClaim, ...] = ()
    cordons: tuple[Cordon, ...] = ()

    @property
    def capacity(self) -> HostCapacity:
        closed = {cordon.node for cordon in self.cordons}
        rules = replace(
            self.config.rules,
            cordoned=WHOLE_HOST in closed,
            cordoned_nodes=NodeSet(frozenset(closed - {WHOLE_HOST})),
        )
        return host_capacity(self.config.name, self.snapshot, rules, self.claims)


def view_hosts(
    configs: Sequence[HostConfig], snapshots: Mapping[str, HostSnapshot], ledger: Ledger | None
) -> tuple[HostView, ...]:
    """Each host that was read, with what was seen and, where there are books, what is promised or accepted there.

    Raises:
        BadInputError: a host's entry names pCPUs or nodes that it does not have.
    """
    for config in configs:
        if config.name in snapshots:
            check_host(config, snapshots[config.name].topology)
    cordons = ledger.cordons.all() if ledger else ()
    return tuple(
        HostView(
            config=config,
            snapshot=snapshots[config.name],
            claims=ledger.outstanding(config.name, planned=True) if ledger else (),
            cordons=tuple(cordon for cordon in cordons if cordon.host == config.name),
        )
        for config in configs
        if config.name in snapshots
    )


def plan_fleet(
    guests: Sequence[FleetGuest],
    templates: Mapping[str, str],
    hosts: Sequence[HostView],
    policy: str,
    effort: Effort,
    *,
    settled: Mapping[str, Placement] = MappingProxyType({}),
) -> PlanFile:
    """Let the named policy place the guests, and check its answer independently.

    Args:
        settled: homes of guests that are in the books; they keep them, and the plan repeats them.

    Raises:
        BadInputError: no such policy, or a settled guest is asked for in another size.
        PlanUnsoundError: the policy broke a hard rule.
    """
    decide = load_policy(policy)
    fleet = Fleet.of([view.capacity for view in hosts])
    for guest in guests:
        if guest.request.name in settled:
            _still_as_asked(guest.request, settled[guest.request.name])
    requests = [guest.request for guest in guests if guest.request.name not in settled]
    began = time.monotonic()
    answer = decide(requests, fleet, effort)
    wall_s = time.monotonic() - began
    if broken := violations(answer.decisions, requests, fleet):
        raise PlanUnsoundError(
            f"policy {policy!r} broke a hard rule, nothing is applied: {broken[0]}",
            advice=(
                f"{policy} decides so by its own rules, to be compared with. Maybe --policy solver."
                if policy in PEERS
                else "Maybe report this: it is a bug of the policy, not of your fleet."
            ),
        )
    homes: dict[str, Decision] = {**settled, **{decision.guest: decision for decision in answer.decisions}}
    plan = Plan(
        decisions=tuple(homes[guest.request.name] for guest in guests),
        objective=answer.objective,
        policy=policy,
        seed=effort.seed,
        status=answer.status,
        wall_s=wall_s,
    )
    known = tuple(
        PlanHost(
            name=view.config.name,
            fingerprint=view.snapshot.topology.fingerprint(),
            taken_at=view.snapshot.taken_at,
        )
        for view in hosts
    )
    return PlanFile(plan=plan, guests=tuple(guests), hosts=known, templates=templates)
