"""Why a rule for one guest has no place for it, in the closed set of reasons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from policies.explain import Rule
from policies.fleet import Fleet
from policies.groups import whole_groups_of
from policies.homes import refusal
from policies.one_by_one import Cannot
from policies.online.scores import Mask, vcpu_room
from policies.open_fleet import OpenFleet
from policies.plan import Reason
from policies.request import GuestName, GuestRequest
from policies.shortfall import nearest_miss


class Refusals:
    """The reasons of one rule, as a policy for batches would tell them that is asked with what is left."""

    def __init__(self, rule: Rule, cannot: Cannot) -> None:
        self._rule, self._cannot = rule, cannot
        self._takes: dict[GuestRequest, tuple[Mask, Reason]] = {}

    def reason(self, request: GuestRequest, before: OpenFleet, *, alone: bool) -> Reason:
        """Why it has no place.

        Args:
            before: what was left when its event came.
            alone: whether it came alone, so that the rule has looked at that already.
        """
        told = self._cannot(request)
        if told is not None:
            return told[0]
        if not alone and self._rule(request, before) is not None:
            return Reason.GROUP if whole_groups_of(request) else Reason.CONTENTION
        takes, reason = self._taking(request, before.fleet)
        if not takes.any():
            return reason
        if request.groups and self._rule(replace(request, groups=()), before) is not None:
            return Reason.GROUP
        return nearest_miss(request, before, [before.fleet.hosts[_nearest(request, before, takes)]])[0]

    def _taking(self, request: GuestRequest, fleet: Fleet) -> tuple[Mask, Reason]:
        """The hosts that take such a guest, however full they are; and why not, where none does."""
        kind = replace(request, name=GuestName("any"), groups=(), priority=1, lifetime_s=None)
        if kind not in self._takes:
            why = [refusal(kind, host) for host in fleet]
            takes = np.array([each is None for each in why], dtype=np.bool_)
            self._takes[kind] = takes, _most_telling(each[0] for each in why if each is not None)
        return self._takes[kind]


def _most_telling(reasons: Iterable[Reason]) -> Reason:
    return next((reason for reason in reasons if reason is not Reason.HOST), Reason.HOST)


def _nearest(request: GuestRequest, book: OpenFleet, takes: Mask) -> int:
    """The host whose nodes together hold the most of the guest."""
    none = np.zeros(len(book.fleet.node_host), dtype=np.int64)
    kib = book.memory_kib.get(request.page_kib, none)
    vcpus = vcpu_room(request, book, slice(None))
    held = np.minimum(vcpus / request.vcpus, kib / request.memory_kib)
    parts = request.cells if isinstance(request.cells, int) else 1
    of_host = np.bincount(book.fleet.node_host, np.minimum(held * parts, 1.0), minlength=len(book.fleet))
    return int(np.where(takes, of_host, -1.0).argmax())
