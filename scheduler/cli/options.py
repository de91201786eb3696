"""Options that several commands share, so that they are called the same everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from policies.policy import Effort

Function = TypeVar("Function", bound=Callable[..., Any])


def hosts_options(function: Function) -> Function:
    """Add `--hosts FILE` and `--host SOURCE`."""
    function = click.option(
        "--host",
        "hosts",
        multiple=True,
        metavar="SOURCE|NAME",
        help="A host by its source (see `numaplace probe --help`), or one of the hosts file. Repeatable.",
    )(function)
    return click.option(
        "--hosts",
        "hosts_path",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Hosts file. Default: $NUMAPLACE_HOSTS, ./hosts.yaml, ~/.config/numaplace/hosts.yaml",
    )(function)


def ledger_option(function: Function) -> Function:
    """Add `--ledger FILE`."""
    return click.option(
        "--ledger",
        metavar="FILE",
        envvar="NUMAPLACE_LEDGER",
        help="The books. Default: numaplace/ledger.sqlite in the user's state folder.",
    )(function)


def policy_option(function: Function) -> Function:
    """Add `--policy NAME`."""
    return click.option(
        "--policy",
        default="solver",
        show_default=True,
        metavar="NAME|FILE.py:NAME",
        help="Who decides; `numaplace policies` lists them.",
    )(function)


_EFFORT_OPTIONS = (
    click.option(
        "--time-limit",
        type=click.FloatRange(min=0, min_open=True),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="When the best answer so far is taken.",
    ),
    click.option(
        "--deterministic",
        type=click.FloatRange(min=0, min_open=True),
        metavar="EFFORT",
        help="Bound the search by effort, not by the clock: the same seed gives the same plan.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="For everything random."),
    click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Solver threads."),
)


def effort_options(function: Function) -> Function:
    """Add `--time-limit`, `--deterministic`, `--seed` and `--workers`, gathered as `effort`."""

    @functools.wraps(function)
    def gathered(
        *args: Any, time_limit: float, deterministic: float | None, seed: int, workers: int, **rest: Any
    ) -> Any:
        effort = Effort(
            time_limit_s=None if deterministic else time_limit,
            deterministic_limit=deterministic,
            seed=seed,
            workers=1 if deterministic else workers,
        )
        return function(*args, effort=effort, **rest)

    decorated: Any = gathered
    for option in reversed(_EFFORT_OPTIONS):
        decorated = option(decorated)
    return cast("Function", decorated)
