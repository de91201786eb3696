"""The ways of a batch: every form of every flavour, numbered, with what its shares need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.patterns.question import SMALLEST_PAGE_KIB, Flavour, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A form of a flavour.

    Attributes:
        flavour: index of the flavour.
        form: index of the form in it.
        needs: (shares, 1 + page sizes) what each share takes of CPUs and pools; the order of
            `Supply.amounts`.
    """

    flavour: int
    form: int
    needs: Ints

    @property
    def shares(self) -> int:
        return len(self.needs)


def ways_of(flavours: Sequence[Flavour], pages_kib: Sequence[int]) -> tuple[Way, ...]:
    """All forms of all flavours, flavour by flavour.

    Raises:
        ValueError: a page size is asked for of which no host has a pool.
    """
    ways = []
    for f, flavour in ((f, flavour) for f, flavour in enumerate(flavours) if flavour.forms):
        pool = 1 + pages_kib.index(flavour.page_kib)
        for number, form in enumerate(flavour.forms):
            needs = np.zeros((len(form.shares), 1 + len(pages_kib)), dtype=np.int64)
            needs[:, 0] = [share.vcpus for share in form.shares]
            needs[:, pool] = [share.memory_kib for share in form.shares]
            needs[0, 1 + pages_kib.index(SMALLEST_PAGE_KIB)] += flavour.overhead_kib
            ways.append(Way(flavour=f, form=number, needs=needs))
    return tuple(ways)
