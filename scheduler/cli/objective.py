"""The options that say what a plan aims at."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from policies.objective import PACKINGS, Objective, Term, objective_with, parse_objective

if TYPE_CHECKING:
    from policies.policy import Effort
    from policies.request import GuestRequest

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--packing",
        type=click.Choice([term.value for term in PACKINGS]),
        help="The last tier of the objective.  [default: fewest-hosts]",
    ),
    click.option(
        "--objective",
        metavar="TIERS",
        help="All its tiers, the first counts first: 'placed, 10*nodes-spanned + distance, balance'.",
    ),
    click.option(
        "--flavours",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A fleet file with the guests for which keep-largest keeps room.  [default: the largest to be placed]",
    ),
)


def objective_options(function: Function) -> Function:
    """Add the options of `aim_options` below `effort_options`: `effort` then aims at what they say."""

    @functools.wraps(function)
    def aiming(*args: Any, effort: Effort, aim: Objective, **rest: Any) -> Any:
        return function(*args, effort=replace(effort, objective=aim), **rest)

    return cast("Function", aim_options(aiming))


def aim_options(function: Function) -> Function:
    """Add `--packing`, `--objective` and `--flavours`, as the objective `aim`."""

    @functools.wraps(function)
    def gathered(*args: Any, packing: str | None, objective: str | None, flavours: Path | None, **rest: Any) -> Any:
        return function(*args, aim=_objective(packing, objective, flavours), **rest)

    decorated: Any = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("Function", decorated)


def _objective(packing: str | None, objective: str | None, flavours: Path | None) -> Objective:
    if packing is not None and objective is not None:
        raise click.UsageError("--objective names all tiers, the last one too: leave --packing away.")
    aim = parse_objective(objective) if objective is not None else objective_with(Term(packing or Term.FEWEST_HOSTS))
    if flavours is None:
        return aim
    if Term.KEEP_LARGEST not in aim.terms:
        raise click.UsageError("--flavours are those of keep-largest: add --packing keep-largest.")
    return replace(aim, flavours=_flavours(flavours))


def _flavours(path: Path) -> tuple[GuestRequest, ...]:
    from scheduler.definitions.size_of import template_size
    from scheduler.files.fleet_file import kinds_of, read_fleet

    guests, _ = read_fleet(path, template_size)
    return tuple(kinds_of([guest.request for guest in guests]).values())
