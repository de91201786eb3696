"""Why a guest cannot live on a host: as few causes as keep it off.

What a node lacks keeps a guest off, or a limit that the guest has itself does, wherever there is room. Of all of them
those are told that together leave no place, and of which none can be spared: if any one of them were not there, and
only the others were, the guest would fit (a minimal unsatisfiable set, by deletion; Chinneck, Dravnieks 1991). Its
limits are told only where it would not fit with plenty of room on every node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.candidates import are_enumerable, candidates, kinds_of_parts, part_of
from policies.capacity import HostCapacity
from policies.homes import Home, cpu_nodes_of, homes, homes_for, is_bound_to_places, part_counts, refusal
from policies.l3 import l3_groups
from policies.matching import Shortage, bits, match_on_nodes
from policies.nearest.from_each_home import nearest_candidates
from policies.open_fleet import OpenFleet
from policies.places import first_placed, nodes_of_homes
from policies.plan import Placement, Reason
from policies.request import GuestRequest, HostName, Membership
from policies.room import Room
from policies.shortfall import Lack, Miss, lacks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that keeps a guest off a host.

    Attributes:
        text: a sentence with amounts and places, without a full stop.
        lacks: what one node lacks; with as much more the guest would fit, if no other cause were there. Empty for
            a cause of another kind.
    """

    host: HostName
    reason: Reason
    text: str
    lacks: tuple[Lack, ...] = ()


def causes(request: GuestRequest, book: OpenFleet, host: HostCapacity) -> tuple[Cause, ...]:
    """The causes on one host, for what the book has left there; empty where the guest fits by all that is looked at.

    A guest that wants the largest pages is looked at in 4 KiB pages. Groups that look at L3 domains are causes where
    nothing else is.
    """
    refused = refusal(request, host)
    if refused is not None:
        return (Cause(host=host.name, reason=refused[0], text=refused[1]),)
    asked = _Asked(request.in_pages(4), book, host)
    lacking = set(asked.short)
    if asked.way(lacking) is not None:
        return asked.of_l3()
    if asked.way(()) is None:
        return asked.limits()
    for home in asked.short:
        if asked.way(lacking - {home}) is None:
            lacking.discard(home)
    told = (asked.lack(home, lacking) for home in homes_for(request, host) if home in lacking)
    return tuple({cause.text: cause for cause in told}.values())


class _Asked:
    """A guest on a host.

    Attributes:
        short: homes that lack something for one of its parts, those that lack the least first: they are spared first.
    """

    def __init__(self, request: GuestRequest, book: OpenFleet, host: HostCapacity) -> None:
        self.request, self.book, self.host = request, book, host
        self._counts = part_counts(request, host)
        room = Room(book, host)
        self._lacks: Mapping[tuple[object, Home], tuple[Lack, ...]] = {
            (kind, home): lacks_of(room, part_of(request, home, kind))
            for count in self._counts
            for kind in dict.fromkeys(kinds_of_parts(request, host, count))
            for home in homes_for(request, host)
        }
        short = dict.fromkeys(home for (_, home), lacks in self._lacks.items() if lacks)
        self.short = sorted(short, key=lambda home: (self._offers(home)[0].badness, home.cpu_node, home.memory_node))

    def way(self, lacking: Collection[Home], enough: Miss | None = None) -> tuple[Home, ...] | None:
        """Homes on which the guest would live if only these lacked what they lack; None where it would not fit.

        Args:
            enough: so much more is there of what it says.
        """
        found = (self._way_on(self.request, count, lacking, enough) for count in self._counts)
        return next((way for way in found if way is not None), None)

    def _way_on(
        self, request: GuestRequest, count: int, lacking: Collection[Home], enough: Miss | None
    ) -> tuple[Home, ...] | None:
        there = homes_for(request, self.host)
        able = [
            {home for home in there if home not in lacking or self._holds(kind, home, enough)}
            for kind in kinds_of_parts(request, self.host, count)
        ]
        places = [bits(i for i, home in enumerate(there) if home in some) for some in able]
        if isinstance(match_on_nodes(places, cpu_nodes_of(request, self.host)), Shortage):
            return None
        for way in _ways(request, self.host, able):
            if not self.book.groups.conflict(request.groups, self.host, nodes_of_homes(way)):
                return way
        return None

    def _holds(self, kind: object, home: Home, enough: Miss | None) -> bool:
        more = enough.lacks if enough is not None else ()
        given = {(lack.node_id, lack.page_kib, lack.cpus): lack.amount for lack in more}
        lacks = self._lacks[kind, home]
        return all(given.get((each.node_id, each.page_kib, each.cpus), 0) >= each.amount for each in lacks)

    def _offers(self, home: Home) -> list[Miss]:
        """What the home lacks for each kind of part that it does not hold, the least first."""
        found = {lacks for (_, other), lacks in self._lacks.items() if other == home and lacks}
        return sorted((Miss(host=self.host.name, lacks=lacks) for lacks in found), key=lambda miss: miss.badness)

    def lack(self, home: Home, lacking: Collection[Home]) -> Cause:
        """What a home of a minimal set lacks: the least that would do."""
        least = next(miss for miss in self._offers(home) if self.way(lacking, miss) is not None)
        text = least.text(self.request)
        return Cause(host=self.host.name, reason=least.reason, text=text, lacks=least.lacks)

    def limits(self) -> tuple[Cause, ...]:
        """The guest's own limits that leave it no place even with plenty of room."""
        name, groups = self.host.name, [m for m in self.request.groups if m.group.hard]
        if not self._counts:
            there, cells = len(homes(self.host)), self.request.cells
            wanted = 1 if cells == "auto" or self.request.stack_cells else cells
            text = f"{name} has {there} node{'s' * (there != 1)} that can hold a cell, and the guest needs {wanted}"
            return (Cause(host=name, reason=Reason.PCPUS, text=text),)
        freed = replace(self.request, groups=())
        ways = [way for count in self._counts if (way := self._way_on(freed, count, (), None)) is not None]
        if groups and ways:
            return tuple(self._of_group(member, ways[0]) for member in self._keeping_out(groups))
        if is_bound_to_places(self.request):
            text = f"{name} has no nodes with what the guest must be near, for all of its parts together"
            return (Cause(host=name, reason=Reason.PCPUS, text=text),)
        limit = self.request.max_distance
        near = "that reach each other" if limit is None else f"at most {limit} from each other"
        text = f"{name} has not as many nodes {near} as the guest needs"
        return (Cause(host=name, reason=Reason.PCPUS, text=text),)

    def _keeping_out(self, groups: Sequence[Membership]) -> Sequence[Membership]:
        """As few of its groups as leave it no place."""
        kept = list(groups)
        for member in groups:
            rest = tuple(other for other in kept if other is not member)
            less = replace(self.request, groups=rest)
            if rest and all(self._way_on(less, count, (), None) is None for count in self._counts):
                kept.remove(member)
        return kept

    def of_l3(self) -> tuple[Cause, ...]:
        """Groups that look at L3 domains, as few as leave it no place though there is room; empty where it fits."""
        kept = l3_groups(self.request.groups, hard=True)
        if not kept or self._place(self.request) is not None or self._place(self._in_l3_groups(())) is None:
            return ()
        for member in tuple(kept):
            rest = [other for other in kept if other is not member]
            if rest and self._place(self._in_l3_groups(rest)) is None:
                kept = rest
        return tuple(self._of_l3_group(member) for member in kept)

    def _in_l3_groups(self, kept: Sequence[Membership]) -> GuestRequest:
        others = [m for m in self.request.groups if m not in l3_groups(self.request.groups, hard=True)]
        return replace(self.request, groups=(*others, *kept))

    def _place(self, request: GuestRequest) -> Placement | None:
        return first_placed(request, self.book, self.host)

    def _of_l3_group(self, member: Membership) -> Cause:
        free, name = self._place(self._in_l3_groups(())), self.host.name
        host = self.book.fleet.host(name)
        conflict = "" if free is None else self.book.groups.conflict_of(replace(free, groups=(member,)), host)
        text = conflict or f"group {member.group.name} ({member.group.rule}, l3) leaves no L3 domains of {name}"
        return Cause(host=name, reason=Reason.GROUP, text=text)

    def _of_group(self, member: Membership, way: tuple[Home, ...]) -> Cause:
        conflict = self.book.groups.conflict((member,), self.host, nodes_of_homes(way))
        text = conflict or f"group {member.group.name} ({member.group.rule}, {member.group.level}) leaves no nodes"
        return Cause(host=self.host.name, reason=Reason.GROUP, text=text)


def _ways(request: GuestRequest, host: HostCapacity, able: Sequence[Collection[Home]]) -> Iterator[tuple[Home, ...]]:
    if not are_enumerable(request, host, len(able)):
        yield from (candidate.homes for candidate in nearest_candidates(request, host, able)[0])
        return
    for candidate in candidates(request, host, len(able)):
        if all(home in some for home, some in zip(candidate.homes, able, strict=True)):
            yield candidate.homes
