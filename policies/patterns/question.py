"""What is asked of the pattern placer, in arrays: a supply, flavours, and a batch of guests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from policies.request import GroupRule

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

SMALLEST_PAGE_KIB = 4
"""The page size in which the overhead of a hypervisor process is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floating:
    """The pCPUs on which vCPUs float; a guest may not have more of these on a node than are left there.

    Attributes:
        room: (rows,) vCPUs that may float, as long as nothing is owned.
        shared: (rows,) pCPUs that are shared now.
        either: (rows,) pCPUs that are shared or may be owned; those that are owned leave the shared ones last.
    """

    room: Ints
    shared: Ints
    either: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What is free on the nodes of all hosts.

    Attributes:
        first_row: (hosts + 1,) the row of each host's first node, and the number of rows; a host has one at least.
        cpus: (rows,) vCPUs that still fit; or the host's measure of what vCPUs and owned pCPUs take.
        memory_kib: page size to (rows,) KiB; page size 4 is always there.
        domains: level to (hosts,) a number per domain; `host` needs none.
        scale: (hosts,) a number per way of counting CPUs (`Form.scale`); None: all count alike.
        own: (rows,) pCPUs that may be owned, where `cpus` does not say it; None: it does.
        has_gate: whether `cpus` says how many can be owned wherever any can.
        floating: None where `cpus` and `own` say all: no guest has more floating vCPUs than there are shared pCPUs
            left, whoever else is there.
    """

    first_row: Ints
    cpus: Ints
    memory_kib: Mapping[int, Ints]
    domains: Mapping[str, Ints] = field(default_factory=dict)
    scale: Ints | None = None
    own: Ints | None = None
    has_gate: bool = False
    floating: Floating | None = None

    @property
    def hosts(self) -> int:
        return len(self.first_row) - 1

    @property
    def pages_kib(self) -> tuple[int, ...]:
        """The page sizes, smallest first: the order of the pools in `amounts`."""
        return tuple(sorted(self.memory_kib))

    def amounts(self) -> Ints:
        """(resources, rows): the CPUs, the KiB of each pool, and pCPUs to own where they are counted; a fresh copy.

        What is overdrawn is nothing.
        """
        own = () if self.own is None else (self.own,)
        amounts: Ints = np.stack([self.cpus, *(self.memory_kib[page] for page in self.pages_kib), *own])
        return np.maximum(0, amounts).astype(np.int64)

    def host_of_row(self) -> Ints:
        return np.repeat(np.arange(self.hosts), np.diff(self.first_row))

    @property
    def counts_both(self) -> bool:
        """Whether owned pCPUs and floating vCPUs are told apart."""
        return self.own is not None or self.floating is not None or bool(self.scale_of_host().any())

    def scale_of_host(self) -> Ints:
        """(hosts,) how each counts CPUs."""
        if self.scale is not None:
            return self.scale
        alike: Ints = np.zeros(self.hosts, dtype=np.int64)
        return alike

    def domain_of_host(self, level: str) -> Ints:
        """(hosts,) the domain of each host at this level."""
        return np.arange(self.hosts) if level == "host" else self.domains[level]


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one node gives to a guest; a vCPU at least.

    Attributes:
        vcpus: what it takes of `Supply.cpus`; nothing where that counts floating vCPUs only and the share has none.
        own: pCPUs that become its own.
        floating: vCPUs that float.
    """

    vcpus: int
    memory_kib: int
    own: int = 0
    floating: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One of the ways to split a guest: a share per node, each on another node, larger ones first.

    It is for hosts of one way of counting CPUs (`Supply.scale`).
    """

    shares: tuple[Share, ...]
    scale: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """Guests that ask for the same.

    Attributes:
        forms: the ways to split it; the first is liked best. Guests of a flavour without any are never placed.
        weight: what placing one is worth; 0 is a reference flavour, of which nobody asks for one:
            as much room as can be is kept for it.
        page_kib: the page size of all its memory.
        overhead_kib: in 4 KiB pages, on the node of the first share.
        allowed: (hosts,) where it may live; None is everywhere.
    """

    forms: tuple[Form, ...]
    weight: int = 1
    page_kib: int = SMALLEST_PAGE_KIB
    overhead_kib: int = 0
    allowed: Mask | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOf:
    """A group of guests of the batch (`policies.request.Group`).

    Attributes:
        rule: how the members stand to each other.
        level: what a domain is: "host", or a level of `Supply.domains`.
        members: (n,) indices of guests.
        parts: (n,) the part of each member; read for fault domains only.
    """

    rule: GroupRule
    level: str
    members: Ints
    parts: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The guests.

    Attributes:
        flavours: what may be asked for.
        flavour_of: (guests,) the index of each guest's flavour.
        groups: a guest is in one of them at most.
        fewest_hosts: have guests on as few hosts as possible, where that costs no guest a place or a near node.
    """

    flavours: tuple[Flavour, ...]
    flavour_of: Ints
    groups: tuple[GroupOf, ...] = ()
    fewest_hosts: bool = False

    def demand(self) -> Ints:
        """(flavours,) how many guests there are of each."""
        return np.bincount(self.flavour_of, minlength=len(self.flavours)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Where each guest lives.

    Attributes:
        form: (guests,) the index of the form in its flavour's; -1 for a guest without a home.
        rows: (guests, most shares) the rows of the shares, in their order; -1 beyond the last.
    """

    form: npt.NDArray[np.int8]
    rows: Rows

    @classmethod
    def none(cls, batch: Batch) -> Homes:
        width = max((len(form.shares) for flavour in batch.flavours for form in flavour.forms), default=1)
        guests = len(batch.flavour_of)
        return cls(form=np.full(guests, -1, np.int8), rows=np.full((guests, width), -1, np.int32))

    def placed(self) -> Mask:
        return self.form >= 0
