"""A question about a fleet that is not so: what is planned on, what is asked for, and what had to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from policies.host_rules import OutstandingClaim
from probe.snapshot import HostSnapshot, NodeMemory
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.ledger import Ledger
from scheduler.planning import NOTHING_STANDS, HostView, Standing, away_hosts, levels_named, view_hosts
from scheduler.what_if.change import Change, ChangeInvalidError


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedAgain:
    """A guest of the books that loses its place by a change.

    Attributes:
        host: where it is.
        as_it_is: it is not in the fleet file, and is asked for as its placement tells.
    """

    guest: str
    host: str
    as_it_is: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotPlanned:
    """A guest that loses its place, and for which none can be looked for. `why` is a clause: "is in no books"."""

    guest: str
    host: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """Guests and hosts as `plan_fleet` takes them, after the changes.

    Attributes:
        guests: of the fleet file, then those of the books that are asked for again.
        views: the hosts that were read.
        unread: what is promised on each host that was not.
        changes: what was supposed, in this order; empty for the fleet as it is.
        asked_again: guests of the books that need another place.
        not_planned: guests that need one and cannot be asked for.
        notes: what else is to be known, in sentences.
    """

    guests: tuple[FleetGuest, ...]
    views: tuple[HostView, ...]
    standing: Standing = NOTHING_STANDS
    unread: Mapping[str, tuple[OutstandingClaim, ...]] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    asked_again: tuple[AskedAgain, ...] = ()
    not_planned: tuple[NotPlanned, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def as_it_is(
        cls,
        guests: Sequence[FleetGuest],
        configs: Sequence[HostConfig],
        snapshots: Mapping[str, HostSnapshot],
        ledger: Ledger,
    ) -> Supposed:
        """Nothing is supposed: the hosts that were read, and guests of the books keep their homes.

        Raises:
            BadInputError: a host's entry names pCPUs or nodes that it does not have.
        """
        names = {guest.request.name for guest in guests}
        homes = {claim.guest: claim.placement for claim in ledger.claims() if claim.guest in names}
        unread = [config.name for config in configs if config.name not in snapshots]
        return cls(
            guests=tuple(guests),
            views=view_hosts(configs, snapshots, ledger),
            standing=Standing(
                homes=homes,
                away=away_hosts(configs, snapshots, ledger),
                levels=levels_named(configs),
            ),
            unread={name: ledger.outstanding(name, planned=True) for name in unread},
        )

    @property
    def hypothetical(self) -> tuple[str, ...]:
        """The changes as they are written."""
        return tuple(str(change) for change in self.changes)

    def view(self, host: str, change: object) -> HostView:
        """The host that a change names.

        Raises:
            ChangeInvalidError: there is no such host, or it was not read.
        """
        for view in self.views:
            if view.config.name == host:
                return view
        if host in self.unread:
            raise ChangeInvalidError(f"--what-if {change}: {host} could not be read, so what it has is not known.")
        known = ", ".join([*(view.config.name for view in self.views), *self.unread]) or "none"
        raise ChangeInvalidError(f"--what-if {change}: no host of this name; there are {known}.")

    def with_view(self, changed: HostView) -> Supposed:
        """With another picture of one host."""
        name = changed.config.name
        return replace(self, views=tuple(changed if view.config.name == name else view for view in self.views))

    def node_of(self, view: HostView, node: int, change: object) -> NodeMemory:
        """The node of a host that a change names. Raises `ChangeInvalidError` where there is none."""
        topology = view.snapshot.topology
        if node not in topology.node_ids:
            raise ChangeInvalidError(
                f"--what-if {change}: {view.config.name} has no node {node}; it has {topology.node_ids}."
            )
        return view.snapshot.memory_of(node)
