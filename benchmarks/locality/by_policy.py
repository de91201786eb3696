"""Guests placed by a policy of ours: planned, and applied as `numaplace apply` does, in books of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.locality.created import Created
from benchmarks.locality.figures import GuestSeen
from benchmarks.locality.looking import Running
from policies.policy import Effort
from probe.snapshot import HostSnapshot
from scheduler.applying import apply_plan
from scheduler.definitions.render import guest_uuid
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.job import Course
from scheduler.ledger import Ledger, State
from scheduler.plan_file import PlanFile
from scheduler.planning import PlanUnsoundError, plan_fleet, view_hosts
from scheduler.reading import read_hosts_of

TIME_LIMIT_S = 30.0
"""Of the plan, as `numaplace plan` has it."""


def planned(
    guests: Sequence[FleetGuest],
    templates: Mapping[str, str],
    configs: Sequence[HostConfig],
    snapshots: Mapping[str, HostSnapshot],
    policy: str,
    seed: int,
) -> PlanFile:
    """The plan of a policy for the hosts as they are. Raises as `plan_fleet`."""
    effort = Effort(time_limit_s=TIME_LIMIT_S, seed=seed)
    return plan_fleet(guests, templates, view_hosts(configs, snapshots, None), policy, effort)


def created_by_policy(
    guests: Sequence[FleetGuest],
    templates: Mapping[str, str],
    configs: Sequence[HostConfig],
    created: Created,
    policy: str,
    seed: int,
) -> tuple[list[Running], dict[str, GuestSeen]]:
    """Plan and apply: the guests that run, and why the others do not.

    The books are new and end with this. Nobody else's guests are touched: they are strangers, whatever mark they bear.
    """
    reading = read_hosts_of(configs)
    for error in reading.unreached.values():
        raise error
    try:
        file = planned(guests, templates, configs, reading.snapshots, policy, seed)
    except PlanUnsoundError as error:
        return [], {g.request.name: GuestSeen(guest=g.request.name, host="", note=error.message) for g in guests}
    refused: dict[str, GuestSeen] = {
        rejection.guest: GuestSeen(guest=rejection.guest, host="", note=rejection.detail)
        for rejection in file.plan.rejections
    }
    with tempfile.TemporaryDirectory(prefix="numaplace-bench-") as folder:
        books = Ledger(Path(folder) / "ledger.sqlite")
        for placement in file.plan.placements:  # planned again, it may come to be on another host
            created.note(guest_uuid(books.ledger_id, placement.guest), placement.guest, *created.sites)
        try:
            outcomes = apply_plan(file, configs, reading, books, Course(), share=True)
            homes = {claim.guest: claim for claim in books.claims()}
        finally:
            books.close()
    running = []
    for outcome in outcomes:
        if outcome.state in (State.ACTIVE, State.DRIFTED):
            claim = homes[outcome.guest]
            running.append(Running(uuid=claim.uuid, placement=claim.placement))
        else:
            refused[outcome.guest] = GuestSeen(guest=outcome.guest, host=outcome.host, note=outcome.note)
    return running, refused
