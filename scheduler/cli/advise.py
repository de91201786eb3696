"""`numaplace advise`: one guest, no files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.options import effort_options, hosts_options, policy_option, shape_options
from scheduler.cli.output import emit, output_option

if TYPE_CHECKING:
    from policies.plan import Placement
    from policies.policy import Effort
    from policies.request import GuestRequest
    from scheduler.executors.port import DefinitionKind

_GUEST = re.compile(r"(\d{1,4}):(.+)", re.ASCII)


@click.command()
@click.argument("guest", metavar="VCPUS:MEMORY")
@hosts_options
@policy_option
@effort_options
@click.option("--name", default="guest", show_default=True, help="The guest's name.")
@click.option("--page-size", default="4KiB", show_default=True, help="4KiB, 2MiB, 1GiB or largest.")
@shape_options
@output_option
def advise(
    guest: str,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    policy: str,
    effort: Effort,
    name: str,
    page_size: str,
    asked: Mapping[str, Any],
    output: str,
) -> int:
    """Where should a guest of VCPUS:MEMORY (4:8GiB) go? An answer to paste; nothing is changed.

    On this machine, unless --host or --hosts name others. Exit status 3 when there is no place.
    """
    from policies.plan import Rejection
    from policies.plan_json import decision_to_json
    from scheduler.cli.advising import choose_home, definition_kind, would_fit

    request = _request(guest, name, page_size, asked)
    decision, snapshot = choose_home(request, hosts or (() if hosts_path else ("sysfs:",)), hosts_path, policy, effort)
    document: dict[str, Any] = {"schema": 1, "decision": decision_to_json(decision)}
    if isinstance(decision, Rejection):
        text = f"no place ({decision.reason.value}): {decision.detail}{would_fit(decision, partial(_way, request))}"
        emit(document, output, lambda: text)
        return 3
    kind = definition_kind(snapshot)
    document["definition"] = _definition(decision, kind, snapshot)
    emit(document, output, lambda: _answer(decision, kind, document["definition"]))
    return 0


def _request(guest: str, name: str, page_size: str, asked: Mapping[str, Any]) -> GuestRequest:
    from policies.request import GuestName, GuestRequest
    from probe.units import parse_size_kib

    match = _GUEST.fullmatch(guest)
    if match is None:
        raise click.UsageError(f"expected VCPUS:MEMORY such as 4:8GiB, got {guest!r}.")
    try:
        return GuestRequest(
            name=GuestName(name),
            vcpus=int(match[1]),
            memory_kib=parse_size_kib(match[2]),
            page_kib=4 if page_size == "largest" else parse_size_kib(page_size),
            largest_pages=page_size == "largest",
            **asked,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _way(request: GuestRequest, changed: Mapping[str, str]) -> str:
    """How `advise` is told of a change: "4:2GiB --cells auto"."""
    from probe.units import format_kib

    size = f"{changed.get('vcpus', request.vcpus)}:{changed.get('memory', format_kib(request.memory_kib))}"
    options = [f"--page-size {changed['page_size']}"] if "page_size" in changed else []
    return " ".join([*([size] if {"vcpus", "memory"} & changed.keys() else []), *options])


def _definition(placement: Placement, kind: DefinitionKind, snapshot: Any) -> str:
    from scheduler.definitions.render import definition_of

    return definition_of(placement, kind, topology=snapshot.topology).text


def _answer(placement: Placement, kind: DefinitionKind, text: str) -> str:
    """A sentence, the placement as virt-install and virsh write it, and the whole definition."""
    from scheduler.executors.port import DefinitionKind

    nodes, cpus = placement.memory_nodes, placement.cpus
    own = f", of which its own {placement.own_cpus}" if placement.dedicated else ""
    lines = [f"{placement.guest} on {placement.host}: memory on node {nodes}, CPUs {cpus}{own}", ""]
    if kind is DefinitionKind.KVM_XML and len(placement.cells) == 1:
        lines += ["With virt-install:", f"  {_virt_install(placement)}", ""]
    lines += ["The whole definition:", text.rstrip("\n")]
    return "\n".join(lines)


def _virt_install(placement: Placement) -> str:
    """Its options for a guest of one cell; where not all of its vCPUs may use the same pCPUs, each with its pin."""
    (cell,) = placement.cells
    options = [f"--vcpus {len(cell.vcpus)},cpuset={cell.cpus}"]
    if placement.dedicated or len(set(cell.pins.values())) > 1:
        pins = [f"vcpupin{v}.vcpu={v},vcpupin{v}.cpuset={pin}" for v, pin in sorted(cell.pins.items())]
        options.append(f"--cputune {','.join(pins)}")
    options.append(f"--numatune {placement.memory_nodes},memory.mode={cell.memory_mode.value}")
    return " ".join(options)
