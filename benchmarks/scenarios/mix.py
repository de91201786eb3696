"""Which guests come: flavours with weights, drawn in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.scenarios.file import FlavourEntry, GroupsEntry
from policies.request import Group, GroupRule, GuestName, GuestRequest, Membership
from scheduler.files.fleet_file import GuestEntry, GuestKeys, TemplateDefaults, request_of

BLOCK = 4096
"""So many random numbers are drawn at a time, so that a longer stream begins like a shorter one."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Flavours, and how often each comes.

    Attributes:
        flavours: their names are the flavours'.
        weights: of each flavour; they add up to one.
        groups: some guests come as groups; None: nobody does.
    """

    flavours: tuple[GuestRequest, ...]
    weights: tuple[float, ...]
    groups: GroupsEntry | None = None

    @classmethod
    def of(cls, weighted: Sequence[tuple[GuestRequest, float]], groups: GroupsEntry | None = None) -> Mix:
        total = sum(weight for _, weight in weighted)
        return cls(
            flavours=tuple(flavour for flavour, _ in weighted),
            weights=tuple(weight / total for _, weight in weighted),
            groups=groups,
        )

    @property
    def mean_unit(self) -> float:
        """How many guests come together, on the average."""
        chance = _group_chance(self.groups)
        return 1 - chance + chance * (self.groups.members if self.groups else 1)

    def picks(self, rng: np.random.Generator) -> Iterator[int]:
        """Indices of flavours without end."""
        while True:
            yield from rng.choice(len(self.flavours), BLOCK, p=self.weights).tolist()

    def units(self, rng: np.random.Generator) -> Iterator[tuple[GuestRequest, ...]]:
        """Guests that come together: one, or a group of one flavour. Without end.

        Guests are called g0, g1, …; groups too.
        """
        picks = self.picks(rng)
        number = unit = 0
        for is_group in _group_chances(self.groups, rng):
            flavour, count = self.flavours[next(picks)], 1
            member_of: tuple[Membership, ...] = ()
            if is_group and self.groups is not None:
                count, member_of = self.groups.members, (_membership(self.groups, unit),)
            names = (GuestName(f"g{n}") for n in range(number, number + count))
            yield tuple(replace(flavour, name=name, groups=member_of) for name in names)
            number, unit = number + count, unit + 1


def _group_chance(groups: GroupsEntry | None) -> float:
    """That the next who come are a group, so that the share of guests in groups is as told."""
    if groups is None:
        return 0.0
    share = groups.share / 100
    return share / (share + (1 - share) * groups.members)


def _group_chances(groups: GroupsEntry | None, rng: np.random.Generator) -> Iterator[bool]:
    chance = _group_chance(groups)
    while True:
        yield from (rng.random(BLOCK) < chance).tolist()


def _membership(entry: GroupsEntry, number: int) -> Membership:
    group = Group(name=f"group{number}", rule=GroupRule(entry.rule), level=entry.level, hard=entry.hard)
    return Membership(group=group)


def mix_of(entries: Sequence[FlavourEntry], groups: GroupsEntry | None = None) -> Mix:
    """The mix that a scenario writes down. Raises `RequestInvalidError`: a flavour contradicts itself."""
    return Mix.of([(flavour_of(entry), entry.weight) for entry in entries], groups)


def flavour_of(entry: FlavourEntry) -> GuestRequest:
    """A flavour as a guest of its name. Raises `RequestInvalidError`."""
    return asked(entry.name, entry)


def asked(name: str, keys: GuestKeys) -> GuestRequest:
    """The guest of this name that the keys describe. Raises `RequestInvalidError`."""
    return request_of(GuestEntry.model_construct(name=name, **given_by(keys)), TemplateDefaults(), 1, ())


def given_by(keys: GuestKeys) -> dict[str, Any]:
    """The keys of a guest that are given, and their values."""
    return {key: getattr(keys, key) for key in GuestKeys.model_fields if key in keys.model_fields_set}
