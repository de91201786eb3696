"""The ways of a batch: every form of every flavour, numbered, with what its shares need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.patterns.question import SMALLEST_PAGE_KIB, Flavour, Form, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A form of a flavour.

    Attributes:
        flavour: index of the flavour.
        form: index of the form in it.
        rank: of the form among those for hosts that count CPUs alike: 0 is liked best.
        scale: of which hosts it is: `Form.scale`.
        needs: (shares, resources) what each share takes; the order of `Supply.amounts`.
        own, floating: (shares,) pCPUs that become the guest's own, vCPUs that float.
    """

    flavour: int
    form: int
    rank: int
    scale: int
    needs: Ints
    own: Ints
    floating: Ints

    @property
    def shares(self) -> int:
        return len(self.needs)


def ways_of(flavours: Sequence[Flavour], pages_kib: Sequence[int], *, counts_own: bool = False) -> tuple[Way, ...]:
    """All forms of all flavours, flavour by flavour.

    Args:
        counts_own: whether pCPUs to own are a resource of the supply.

    Raises:
        ValueError: a page size is asked for of which no host has a pool.
    """
    ways = []
    for f, flavour in ((f, flavour) for f, flavour in enumerate(flavours) if flavour.forms):
        ranks = Counter[int]()
        for number, form in enumerate(flavour.forms):
            own = np.array([share.own for share in form.shares], dtype=np.int64)
            needs = _needs(flavour, form, pages_kib)
            ways.append(
                Way(
                    flavour=f,
                    form=number,
                    rank=ranks[form.scale],
                    scale=form.scale,
                    needs=np.column_stack([needs, own]) if counts_own else needs,
                    own=own,
                    floating=np.array([share.floating for share in form.shares], dtype=np.int64),
                )
            )
            ranks[form.scale] += 1
    return tuple(ways)


def _needs(flavour: Flavour, form: Form, pages_kib: Sequence[int]) -> Ints:
    """(shares, 1 + page sizes) what each share takes of CPUs and pools."""
    needs = np.zeros((len(form.shares), 1 + len(pages_kib)), dtype=np.int64)
    needs[:, 0] = [share.vcpus for share in form.shares]
    needs[:, 1 + pages_kib.index(flavour.page_kib)] = [share.memory_kib for share in form.shares]
    needs[0, 1 + pages_kib.index(SMALLEST_PAGE_KIB)] += flavour.overhead_kib
    return needs
