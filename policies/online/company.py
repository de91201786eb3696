"""What the groups of an arriving guest, and the devices that it is to be near, make of each host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from policies.asked import NearDevice
from policies.candidates import Candidate
from policies.capacity import HostCapacity
from policies.fleet import Counts
from policies.groups import LEVELS_OF_A_HOST, LEVELS_WITHIN_A_HOST, Domain, domains_of
from policies.homes import is_complete
from policies.near import near_nodes, wishes_missed
from policies.online.scores import NOWHERE, nodes_of_scores
from policies.open_fleet import OpenFleet
from policies.places import nodes_of_homes
from policies.plan import Placement
from policies.request import GroupRule, GuestRequest, Membership


def has_wishes(request: GuestRequest) -> bool:
    """Whether places that are equally near may differ in what the guest asks for."""
    return bool(request.devices) or any(not member.group.hard for member in request.groups)


class Company:
    """Who of a guest's groups lives where, and where its devices are: host by host, and way by way."""

    def __init__(self, book: OpenFleet) -> None:
        self._book = book
        self._hosts_of: dict[str, dict[Domain, list[int]]] = {}
        self._without: dict[NearDevice, npt.NDArray[np.bool_]] = {}

    def scores_left(self, request: GuestRequest, scores: Counts) -> Counts:
        """The scores, with nothing on hosts where a group or a device of the guest lets it live on no node."""
        left = scores
        for member in request.groups:
            there = self._book.groups.domains_with(member)
            if member.group.hard and member.group.rule is GroupRule.AFFINITY and there:
                hosts = self._hosts_in(member.group.level, there)
                kept = np.full(len(left), NOWHERE, dtype=np.int64)
                kept[hosts] = left[hosts]
                left = kept
        for device in (each for each in request.devices if each.must):
            left = np.where(self._hosts_without(device), NOWHERE, left)
        return left

    def fewest_broken(self, request: GuestRequest, scores: Counts) -> Counts:
        """Per host what the guest there adds to the term `soft-wishes` at least, wherever on it."""
        found = np.zeros(len(scores), dtype=np.int64)
        for member in (each for each in request.groups if not each.group.hard):
            found += member.group.weight * self._fewest(member, scores)
        for device in (each for each in request.devices if not each.must):
            found += self._hosts_without(device)
        return found

    def least_broken(self, request: GuestRequest, host: HostCapacity, way: Candidate) -> int | None:
        """What the guest adds to the term `soft-wishes` by living so; None where it must not.

        Of groups that look at L3 domains no more than it adds: that depends on its pCPUs.
        """
        nodes = nodes_of_homes(way.homes)
        if not is_complete(request, host, way.homes) or self._book.groups.conflict(request.groups, host, nodes):
            return None
        missed = wishes_missed(request.devices, host, (home.cpu_node for home in way.homes))
        return missed + self._book.groups.added_breaches(request.groups, host, nodes)

    def broken(self, placement: Placement, host: HostCapacity) -> int:
        """What the placement adds to the term `soft-wishes`."""
        missed = wishes_missed(placement.devices, host, placement.cpu_nodes or ())
        return missed + self._book.groups.added_by(placement, host)

    def _fewest(self, member: Membership, scores: Counts) -> Counts:
        """Per host the fewest breaches of a soft group that the guest there adds."""
        group, there = member.group, self._book.groups.domains_with(member)
        if group.rule is GroupRule.AFFINITY:
            domains = nodes_of_scores(scores) if group.level == "node" else np.ones(len(scores), dtype=np.int64)
            found = domains if there else domains - 1
            found[self._hosts_in(group.level, there)] = 0
            return found
        found = np.zeros(len(scores), dtype=np.int64)
        if group.level not in LEVELS_WITHIN_A_HOST:
            found[self._hosts_in(group.level, self._book.groups.domains_against(member))] = 1
        return found

    def _hosts_without(self, device: NearDevice) -> npt.NDArray[np.bool_]:
        """The hosts on which no node is known to be near the device."""
        if device not in self._without:
            found = [near_nodes(device, host) is None for host in self._book.fleet]
            self._without[device] = np.array(found, dtype=np.bool_)
        return self._without[device]

    def _hosts_in(self, level: str, domains: Iterable[Domain]) -> list[int]:
        """The hosts that touch one of these domains."""
        fleet = self._book.fleet
        if level in LEVELS_OF_A_HOST:
            return [fleet.host_index(name) for name in {domain[0] for domain in domains}]
        if level not in self._hosts_of:
            found: dict[Domain, list[int]] = defaultdict(list)
            for index, host in enumerate(fleet):
                for domain in domains_of(level, host, None):
                    found[domain].append(index)
            self._hosts_of[level] = found
        return [index for domain in domains for index in self._hosts_of[level][domain]]
