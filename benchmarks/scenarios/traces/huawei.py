"""Huawei Cloud's batches on half-used hosts: `benchmarks.fleets` reads them, here they become requests."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.as_requests import fleet_of, requests_of
from benchmarks.fleets import huawei_batch, huawei_supply
from benchmarks.scenarios.data import data_folder
from benchmarks.scenarios.file import HostsEntry, TraceEntry
from benchmarks.scenarios.traces.coming import Coming
from benchmarks.scenarios.traces.sized import Sized
from policies.capacity import HostCapacity
from policies.host_rules import HostRules
from policies.request import GuestName, GuestRequest, Membership
from probe.errors import BadInputError

BATCHES = ("C1", "C2")
_BETWEEN_S = 3600.0
"""The trace tells no times: its batches come an hour apart."""


def hosts(entry: HostsEntry, rules: HostRules) -> tuple[HostCapacity, ...]:
    """What each host has left, as the trace tells. Its two nodes are taken to be at distance 21."""
    del entry, rules
    return fleet_of(huawei_supply(data_folder())).hosts


def guests(entry: TraceEntry) -> tuple[Coming, ...]:
    """The guests of the batches, with their groups: `affinity` and `fault_domain` are of racks.

    Raises:
        BadInputError: there is no such batch.
    """
    names = tuple(entry.batches) or BATCHES
    if strange := [name for name in names if name not in BATCHES]:
        raise BadInputError(f"huawei-topology-aware has no batch {strange[0]!r}; it has {', '.join(BATCHES)}.")
    sized = Sized.of(entry.guest)
    return tuple(
        Coming(request=sized.again(_of_batch(request, name)), at_s=number * _BETWEEN_S)
        for number, name in enumerate(names)
        for request in requests_of(huawei_batch(data_folder(), (name,)))
    )


def _of_batch(request: GuestRequest, batch: str) -> GuestRequest:
    """Names of guests and groups do not repeat in the other batch."""
    groups = tuple(
        Membership(group=replace(member.group, name=f"{batch}-{member.group.name}"), part=member.part)
        for member in request.groups
    )
    return replace(request, name=GuestName(f"{batch}-{request.name}"), groups=groups)
