"""Options that several commands share, so that they are called the same everywhere."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from policies.asked import MOST_CELLS
from policies.policy import Effort
from probe.cpuset import CpuSet

if TYPE_CHECKING:
    from policies.request import Cells

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


def known_guests(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Guests of the books, for shell completion."""
    from scheduler.ledger import open_ledger

    del param
    books = open_ledger(ctx.params.get("ledger") or os.environ.get("NUMAPLACE_LEDGER"))
    return [claim.guest for claim in books.claims() if claim.guest.startswith(incomplete)]


def _policy_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """For shell completion."""
    from policies.registry import describe_policies

    del ctx, param
    return [name for name in describe_policies() if name.startswith(incomplete)]


def policy_option(function: Function) -> Function:
    """Add `--policy NAME`."""
    return click.option(
        "--policy",
        default="solver",
        show_default=True,
        metavar="NAME|FILE.py:NAME",
        shell_complete=_policy_names,
        help="Who decides; `numaplace policies` lists them.",
    )(function)


class CellsType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2
    """Guest NUMA cells: a number from 1, or "auto"."""

    name = "cells"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value)
        if text == "auto":
            return text
        if text.isascii() and text.isdecimal() and int(text) > 0:
            return int(text)
        return self.fail(f"expected a number from 1, or auto, got {text!r}.", param, ctx)


class VcpusType(click.ParamType):  # type: ignore[type-arg]  # as above
    """A set of vCPUs, as libvirt writes sets."""

    name = "vcpus"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> CpuSet:
        try:
            return CpuSet.parse(str(value))
        except ValueError:
            return self.fail(f"expected vCPUs such as 0-3,8, got {value!r}.", param, ctx)


def _cpus_asked(*, dedicated: bool, dedicated_vcpus: CpuSet | None) -> dict[str, Any]:
    """What these options ask of pCPUs, as keys of a `GuestRequest`. Raises `click.UsageError` for both at once."""
    from policies.request import CpuPolicy

    if dedicated and dedicated_vcpus is not None:
        raise click.UsageError("--dedicated is for all vCPUs, and --dedicated-vcpus for some: give one of them.")
    if dedicated_vcpus is not None:
        return {"cpus": CpuPolicy.MIXED, "dedicated_vcpus": dedicated_vcpus}
    return {"cpus": CpuPolicy.DEDICATED if dedicated else CpuPolicy.SHARED}


_SHAPE_OPTIONS = (
    click.option(
        "--cells",
        type=CellsType(),
        default="1",
        show_default=True,
        metavar="N|auto",
        help="Guest NUMA cells, each on a node of its own; auto: as many as nodes are needed.",
    ),
    click.option(
        "--max-nodes",
        type=click.IntRange(1, MOST_CELLS),
        help="Most host nodes that it may span. Default: 1 for one cell, else no more than its cells.",
    ),
    click.option("--dedicated", is_flag=True, help="Each vCPU owns its pCPU."),
    click.option(
        "--dedicated-vcpus",
        type=VcpusType(),
        metavar="SET",
        help="These vCPUs own a pCPU each, the others float.",
    ),
    click.option(
        "--far-memory", is_flag=True, help="Its memory may be on nodes without pCPUs (CXL, HBM), where others are full."
    ),
)


def shape_options(function: Function) -> Function:
    """Add what one guest asks for beside its size, gathered as `asked`: keys of a `GuestRequest`."""

    @functools.wraps(function)
    def gathered(
        *args: Any, cells: Cells, max_nodes: int | None, dedicated: bool, dedicated_vcpus: CpuSet | None, **rest: Any
    ) -> Any:
        asked = {
            "cells": cells,
            "max_nodes": max_nodes,
            "far_memory": rest.pop("far_memory"),
            **_cpus_asked(dedicated=dedicated, dedicated_vcpus=dedicated_vcpus),
        }
        return function(*args, asked=asked, **rest)

    return cast("Function", _with_options(gathered, _SHAPE_OPTIONS))


def _with_options(function: Any, options: Sequence[Callable[[Any], Any]]) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


class SecondsType(click.ParamType):  # type: ignore[type-arg]  # as above
    """A finite number over 0: click's FloatRange takes "nan", and a search by it never ends."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if 0 < number < math.inf:
            return number
        return self.fail(f"expected a number over 0, got {str(value)[:40]!r}.", param, ctx)


def what_if_option(function: Function) -> Function:
    """Add `--what-if CHANGE`, repeatable."""
    return click.option(
        "--what-if",
        "what_if",
        multiple=True,
        metavar="CHANGE",
        help="Suppose another fleet: drain=HOST[:NODE], lose=HOST, lose=each, memory=HOST:NODE:+SIZE, cxl=HOST:SIZE, "
        "nodes=HOST:COUNT. Repeatable, made one after the other; README, 'What if', explains each.",
    )(function)


class SizeType(click.ParamType):  # type: ignore[type-arg]  # as above
    """Memory with its unit, as KiB: "64GiB"; 0 needs none."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from probe.units import parse_size_kib

        try:
            return 0 if str(value) == "0" else parse_size_kib(str(value))
        except ValueError as error:
            return self.fail(str(error), param, ctx)


def time_limit_option(help_text: str) -> Callable[[Function], Function]:
    """Add `--time-limit`, of 30 s unless told."""
    return click.option(
        "--time-limit", type=SecondsType(), default=30.0, show_default=True, metavar="SECONDS", help=help_text
    )


_EFFORT_OPTIONS = (
    time_limit_option("When the best answer so far is taken."),
    click.option(
        "--deterministic",
        type=SecondsType(),
        metavar="EFFORT",
        help="Bound the search by effort, not by the clock: the same seed gives the same plan.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="For everything random."
    ),
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

    return cast("Function", _with_options(gathered, _EFFORT_OPTIONS))
