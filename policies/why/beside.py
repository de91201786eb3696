"""A plan beside which a guest would live, or a part of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.capacity import HostCapacity, Resident
from policies.explain import Rule
from policies.fleet import Fleet
from policies.groups import nodes_of
from policies.open_fleet import OpenFleet
from policies.plan import Placement
from policies.policy import Policy
from policies.request import GuestName, GuestRequest, HostName, Membership


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A plan beside which a guest would live.

    Attributes:
        fleet: before the plan.
        placed: all of the plan.
        asked: every guest of the batch.
        rule: where a guest goes on what is left.
        solve: makes a new plan; None where none is to be made.
    """

    fleet: Fleet
    placed: Sequence[Placement]
    asked: Mapping[GuestName, GuestRequest]
    rule: Rule
    solve: Policy | None = None

    def book(self) -> OpenFleet:
        """With the plan taken."""
        book = self.fleet.open()
        for placement in self.placed:
            book.take(placement)
        return book

    def on_hosts(self, names: Collection[HostName], groups: Iterable[Membership]) -> Beside:
        """These hosts and who is on them. Other hosts are closed, and there where they have members of the groups."""
        wanted, here = {member.group.name for member in groups}, [p for p in self.placed if p.host in names]
        members: dict[HostName, list[Resident]] = {}
        for placement in self.placed:
            if placement.host not in names and _is_member(placement, wanted):
                members.setdefault(placement.host, []).append(_resident(placement))
        kept = [self._kept(host, names, members.get(host.name, []), wanted) for host in self.fleet]
        return replace(self, fleet=Fleet.of([host for host in kept if host is not None]), placed=here)

    def _kept(
        self, host: HostCapacity, names: Collection[HostName], members: Sequence[Resident], wanted: Collection[str]
    ) -> HostCapacity | None:
        if host.name in names:
            return host
        if not members and not any(_is_member(resident, wanted) for resident in host.residents):
            return None
        return replace(host, schedulable=False, residents=(*host.residents, *members))


def _is_member(one: Placement | Resident, groups: Collection[str]) -> bool:
    return any(member.group.name in groups for member in one.groups)


def _resident(placement: Placement) -> Resident:
    return Resident(groups=placement.groups, nodes=nodes_of(placement))
