"""Whether a plan file, which anybody may have edited, still keeps the hard rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from policies.capacity import HostCapacity
from policies.check import violations
from policies.fleet import Fleet
from policies.promise import host_capacity, residents_of
from policies.request import PAGE_SIZES_KIB
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from scheduler.files.hosts_file import HostConfig
from scheduler.ledger import Ledger
from scheduler.plan_file import PlanFile
from scheduler.planning import away_hosts

ENDLESS_KIB = 2**50
"""More than any plan asks for."""


class PlanBrokenError(BadInputError):
    """A plan breaks a hard rule; nothing of it is applied."""


def check_plan(
    file: PlanFile, configs: Sequence[HostConfig], snapshots: Mapping[str, HostSnapshot], ledger: Ledger
) -> None:
    """Check the placements of guests that are not in the books, on the hosts that were read.

    Against the hosts as they are built, with nobody on them but the members of groups that the books
    have: who else is there by now is for the books and for the last look, guest by guest.

    Raises:
        PlanBrokenError: it names the rule, the guest and the place.
    """
    built = [
        replace(
            _as_built(config, snapshots[config.name]),
            residents=residents_of(ledger.outstanding(config.name, planned=True)),
        )
        for config in configs
        if config.name in snapshots
    ]
    fleet = Fleet.of([*built, *away_hosts(configs, snapshots, ledger)])
    settled = {claim.guest for claim in ledger.claims()}
    there = {host.name for host in built}
    new = [p for p in file.plan.placements if p.host in there and p.guest not in settled]
    asked = {guest.request.name: guest.request for guest in file.guests}
    if broken := violations(new, [asked[p.guest] for p in new], fleet):
        raise PlanBrokenError(
            f"the plan breaks a hard rule, nothing of it is applied: {broken[0]}",
            advice="Maybe it was edited, or hosts.yaml says other things now: plan again.",
        )


def _as_built(config: HostConfig, snapshot: HostSnapshot) -> HostCapacity:
    rules = replace(config.rules, schedulable=True)
    capacity = host_capacity(config.name, replace(snapshot, occupants=()), rules)
    endless = dict.fromkeys(PAGE_SIZES_KIB, ENDLESS_KIB)
    return replace(capacity, nodes=tuple(replace(node, memory_kib=endless) for node in capacity.nodes))
