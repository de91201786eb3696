"""What a plan aims at: named terms with weights, in tiers; a lower tier counts only among equals of the higher."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from policies.asked import EmulatorPolicy, SmtPolicy
from policies.request import CpuPolicy, GuestRequest
from probe.cpuset import CpuSet
from probe.errors import BadInputError


class Term(StrEnum):
    """What can be counted of a plan (`policies.tiers` counts it; README, "The objective")."""

    PLACED = "placed"
    """Guests placed, each times its priority. More is better."""
    NODES_SPANNED = "nodes-spanned"
    """Host nodes that a guest's vCPUs may use, Σ over guests."""
    DISTANCE = "distance"
    """`tiers.span_distance`, Σ over guests."""
    SOFT_WISHES = "soft-wishes"
    """How much soft groups are broken, each times its weight; and devices that guests should be near, and are not."""
    FEWEST_HOSTS = "fewest-hosts"
    """Hosts with a guest of this plan."""
    KEEP_LARGEST = "keep-largest"
    """How many more of the reference flavours would fit beside the plan, each flavour alone. More is better."""
    BALANCE = "balance"
    """Σ over nodes of the square of their load in per cent: small where guests are spread evenly."""


MORE_IS_BETTER = frozenset({Term.PLACED, Term.KEEP_LARGEST})
PACKINGS = (Term.FEWEST_HOSTS, Term.KEEP_LARGEST, Term.BALANCE)

MOST_WEIGHT = 1000


class ObjectiveInvalidError(BadInputError):
    """An objective that cannot be read, or that no plan can be judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveTier:
    """Terms that count together, each with its weight.

    Where more of every term is better, more of the tier is; else less of it is better, and what is
    better when it is more counts negatively.
    """

    terms: tuple[tuple[Term, int], ...]

    @property
    def more_is_better(self) -> bool:
        return all(term in MORE_IS_BETTER for term, _ in self.terms)

    @property
    def name(self) -> str:
        """ "distance", or "10*nodes-spanned + distance"."""
        return " + ".join(term if weight == 1 else f"{weight}*{term}" for term, weight in self.terms)

    @property
    def weights(self) -> Mapping[Term, int]:
        """What one of each term adds to the tier's value."""
        sign = 1 if self.more_is_better else -1
        return {term: weight if sign > 0 or term not in MORE_IS_BETTER else -weight for term, weight in self.terms}

    def value(self, of: Mapping[Term, int]) -> int:
        """The tier's value where its terms have these."""
        return sum(weight * of[term] for term, weight in self.weights.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The tiers, the first counts first: it is the guests placed.

    Attributes:
        flavours: the reference flavours of `keep-largest`; empty for the largest kind of the batch.
    """

    tiers: tuple[ObjectiveTier, ...]
    flavours: tuple[GuestRequest, ...] = ()

    def __post_init__(self) -> None:
        terms = [term for tier in self.tiers for term, _ in tier.terms]
        if not self.tiers or self.tiers[0].name != Term.PLACED:
            raise ObjectiveInvalidError(f"objective: the first tier is {Term.PLACED}, and nothing else is in it.")
        if len(set(terms)) < len(terms):
            twice = next(term for term in terms if terms.count(term) > 1)
            raise ObjectiveInvalidError(f"objective: {twice} is in it twice.")
        for flavour in self.flavours:
            if flavour.cell_sizes or flavour.stack_cells:
                raise ObjectiveInvalidError(
                    f"objective: flavour {flavour.name} has cells of several sizes, or stacked ones; "
                    "room is kept for guests with a node for each cell."
                )

    @property
    def terms(self) -> tuple[Term, ...]:
        """Every term, in the order of the tiers."""
        return tuple(term for tier in self.tiers for term, _ in tier.terms)

    def reference(self, requests: Sequence[GuestRequest]) -> tuple[GuestRequest, ...]:
        """The flavours for which `keep-largest` keeps room; none where the objective does not ask for it.

        What they ask of cores, emulator threads, the largest pages and devices is left out, and a mixed guest
        counts as if all its vCPUs owned their pCPU.
        """
        if Term.KEEP_LARGEST not in self.terms:
            return ()
        simple = [request for request in requests if not request.cell_sizes and not request.stack_cells]
        largest = (max(simple, key=lambda r: (r.vcpus, r.memory_kib)),) if simple else ()
        return tuple(_plain(flavour) for flavour in self.flavours or largest)


def _plain(flavour: GuestRequest) -> GuestRequest:
    cpus = CpuPolicy.DEDICATED if flavour.cpus is CpuPolicy.MIXED else flavour.cpus
    plain = replace(flavour, cpus=cpus, dedicated_vcpus=CpuSet(), smt=SmtPolicy.PREFER, emulator=EmulatorPolicy.AUTO)
    return replace(plain, largest_pages=False, devices=())


def objective_with(packing: Term) -> Objective:
    """The default tiers, with one of `PACKINGS` as the last."""
    order = (Term.PLACED, Term.NODES_SPANNED, Term.DISTANCE, Term.SOFT_WISHES, packing)
    return Objective(tiers=tuple(ObjectiveTier(terms=((term, 1),)) for term in order))


DEFAULT_OBJECTIVE = objective_with(Term.FEWEST_HOSTS)


def parse_objective(text: str, flavours: Sequence[GuestRequest] = ()) -> Objective:
    """Read "placed, 10*nodes-spanned + distance, balance": tiers by commas, terms by plus, weights by stars.

    Raises:
        ObjectiveInvalidError: no such term, no such weight, a term twice, or a first tier that is not `placed`.
    """
    tiers = (ObjectiveTier(terms=tuple(_term(part) for part in tier.split("+"))) for tier in text.split(","))
    return Objective(tiers=tuple(tiers), flavours=tuple(flavours))


def _term(text: str) -> tuple[Term, int]:
    found = re.fullmatch(r"\s*(?:([0-9]{1,9})\s*\*)?\s*([a-z-]+)\s*", text, re.ASCII)
    known = ", ".join(Term)
    if found is None or found[2] not in list(Term):
        raise ObjectiveInvalidError(
            f"objective: expected a term, or a weight and a term as in 10*distance, got {text.strip()[:64]!r}.",
            advice=f"Maybe one of {known}.",
        )
    weight = int(found[1] or 1)
    if not 1 <= weight <= MOST_WEIGHT:
        raise ObjectiveInvalidError(f"objective: a weight is 1 to {MOST_WEIGHT}, and that of {found[2]} is {weight}.")
    return Term(found[2]), weight
