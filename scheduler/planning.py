"""From requests and hosts to a plan that was checked by somebody else than its maker."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from policies.asked import EmulatorPolicy, own_vcpus
from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.groups import LEVELS_OF_A_HOST, away as away_host
from policies.host_rules import OutstandingClaim
from policies.plan import Answer, Decision, Placement, Plan
from policies.policy import Effort, Policy
from policies.promise import host_capacity, residents_of
from policies.registry import BUILTIN, PEERS, load_policy
from policies.request import AskedMemoryMode, CpuPolicy, GuestName, GuestRequest
from probe.cpuset import CpuSet, NodeSet
from probe.errors import BadInputError, NumaplaceError
from probe.snapshot import HostSnapshot
from probe.units import format_kib
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig, check_host
from scheduler.ledger import WHOLE_HOST, Cordon, Ledger
from scheduler.plan_file import PlanFile, PlanHost


def still_as_asked(request: GuestRequest, home: Placement) -> None:
    """Raises `BadInputError` where a guest in the books is not what the fleet file asks for now."""
    memory = [share for cell in home.cells for share in cell.memory]
    everybody = CpuSet.union(cell.vcpus for cell in home.cells)
    sizes = {
        "vcpus": (sum(len(cell.vcpus) for cell in home.cells), request.vcpus),
        "memory": (format_kib(sum(share.kib for share in memory)), format_kib(request.memory_kib)),
        "cpus": (_cpus(home.dedicated_vcpus, everybody), _cpus(own_vcpus(request), everybody)),
        "smt": (home.smt.value, request.smt.value),
    }
    if not request.largest_pages:
        sizes["page_size"] = format_kib(max(share.page_kib for share in memory)), format_kib(request.page_kib)
    if request.cell_sizes:
        found = [(len(cell.vcpus), sum(share.kib for share in cell.memory)) for cell in home.cells]
        sizes["cells"] = _cells(found), _cells([(size.vcpus, size.memory_kib) for size in request.cell_sizes])
    if request.memory_mode is not AskedMemoryMode.AUTO:
        modes = sorted({cell.memory_mode.value for cell in home.cells})
        sizes["memory_mode"] = ", ".join(modes), request.memory_mode.value
    if musts := [str(device) for device in request.devices if device.must]:
        sizes["devices"] = ", ".join(str(d) for d in home.devices if d.must) or "none", ", ".join(musts)
    is_far = any(cell.memory_nodes - (cell.cpu_nodes or NodeSet()) for cell in home.cells)
    if home.far_memory and is_far and not request.far_memory:
        sizes["far_memory"] = "true", "false"
    if request.emulator is not EmulatorPolicy.AUTO:
        sizes["emulator"] = _emulator(home).value, request.emulator.value
    for key, (has, asked) in sizes.items():
        if has != asked:
            raise BadInputError(
                f"guest {request.name}: is on {home.host} with {key} {has}, and {asked} is asked for.",
                advice=f"Maybe it is to be made anew: numaplace destroy {request.name}, then plan again.",
            )


def _cpus(own: CpuSet, everybody: CpuSet) -> str:
    """ "shared", "dedicated", or "mixed (dedicated 0-1)"."""
    if not own:
        return CpuPolicy.SHARED
    return CpuPolicy.DEDICATED if everybody <= own else f"{CpuPolicy.MIXED} (dedicated {own})"


def _emulator(home: Placement) -> EmulatorPolicy:
    """Where its emulator threads may run."""
    where = home.emulator_cpus
    if where is None or where <= (home.cpus or CpuSet()):  # of a mixed guest those on which it floats
        return EmulatorPolicy.GUEST
    return EmulatorPolicy.OWN if where <= home.booked_cpus else EmulatorPolicy.HOUSEKEEPING


def _cells(sizes: Sequence[tuple[int, int]]) -> str:
    """ "3 vCPUs in 6GiB, 1 vCPU in 2GiB" of (vCPUs, KiB)."""
    return ", ".join(f"{vcpus} vCPU{'s' * (vcpus > 1)} in {format_kib(kib)}" for vcpus, kib in sizes)


def grouped_as_asked(view: HostView, asked: Mapping[GuestName, GuestRequest]) -> HostView:
    """The host with its guests in the groups that the fleet file gives them now."""

    def grouped(home: Placement) -> Placement:
        return replace(home, groups=asked[home.guest].groups) if home.guest in asked else home

    return replace(view, claims=tuple(replace(c, placement=grouped(c.placement)) for c in view.claims))


def levels_are_known(requests: Sequence[GuestRequest], fleet: Fleet, elsewhere: frozenset[str] = frozenset()) -> None:
    """Raises `BadInputError` where a group's level is named by no host: a slip of the pen would part all hosts.

    Args:
        elsewhere: levels that hosts name which are not in the fleet.
    """
    known = {*LEVELS_OF_A_HOST, *elsewhere, *(kind for host in fleet for kind in host.domains)}
    for group in {member.group for request in requests for member in request.groups}:
        if group.level not in known:
            raise BadInputError(
                f"group {group.name}: level {group.level!r} is none of {', '.join(sorted(known))}.",
                advice="Maybe the hosts' racks and fault_domains are missing in the hosts file.",
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


def away_hosts(
    configs: Sequence[HostConfig], snapshots: Mapping[str, HostSnapshot], ledger: Ledger
) -> tuple[HostCapacity, ...]:
    """Each host that was not read and has members of groups by the books."""
    unread = [config for config in configs if config.name not in snapshots]
    found = [away_host(c.name, c.rules.domains, residents_of(ledger.outstanding(c.name, planned=True))) for c in unread]
    return tuple(host for host in found if host.residents)


def levels_named(configs: Sequence[HostConfig]) -> frozenset[str]:
    """The kinds of fault domains that these hosts name."""
    return frozenset(kind for config in configs for kind in config.rules.domains)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is there before a plan.

    Attributes:
        homes: of guests of the fleet that are in the books; they keep them, and the plan repeats them.
        away: hosts that were not read (`away_hosts`).
        levels: kinds of fault domains that hosts name, those that are away or supposed to be gone too.
    """

    homes: Mapping[str, Placement] = field(default_factory=dict)
    away: tuple[HostCapacity, ...] = ()
    levels: frozenset[str] = frozenset()


NOTHING_STANDS = Standing()


def plan_fleet(
    guests: Sequence[FleetGuest],
    templates: Mapping[str, str],
    hosts: Sequence[HostView],
    policy: str,
    effort: Effort,
    *,
    standing: Standing = NOTHING_STANDS,
) -> PlanFile:
    """Let the named policy place the guests, and check its answer independently.

    Args:
        standing: what is there already.

    Raises:
        BadInputError: no such policy, or one of the user's own that fails; no host knows the level of a group, or a
            guest that has a home is asked for in another size.
        PlanUnsoundError: the policy broke a hard rule.
    """
    decide = load_policy(policy)
    asked = {guest.request.name: guest.request for guest in guests}
    homes: dict[str, Decision] = {**standing.homes}
    for name, home in standing.homes.items():
        still_as_asked(asked[GuestName(name)], home)
    fleet = Fleet.of([*(grouped_as_asked(view, asked).capacity for view in hosts), *standing.away])
    requests = [request for name, request in asked.items() if name not in homes]
    levels_are_known(requests, fleet, standing.levels)
    began = time.monotonic()
    answer = _answer(decide, policy, requests, fleet, effort)
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
    homes |= {decision.guest: decision for decision in answer.decisions}
    plan = Plan(
        decisions=tuple(homes[guest.request.name] for guest in guests),
        objective=answer.objective,
        policy=policy,
        seed=effort.seed,
        status=answer.status,
        wall_s=wall_s,
        limited_by=answer.limited_by,
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


def _answer(decide: Policy, name: str, requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort) -> Answer:
    """What the policy says. Raises `BadInputError` where one that is not ours fails, or answers with something else."""
    if name in BUILTIN:
        return decide(requests, fleet, effort)
    try:
        answer: object = decide(requests, fleet, effort)
    except NumaplaceError:
        raise
    except Exception as error:
        raise BadInputError(f"policy {name} failed: {error!r}.") from error
    if not isinstance(answer, Answer):
        raise BadInputError(
            f"policy {name}: expected an Answer, got {type(answer).__name__}.", advice="Maybe see policies/README.md."
        )
    return answer
