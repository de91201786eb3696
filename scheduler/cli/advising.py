"""One guest, no books: where it should go on the hosts that were named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from policies.plan import Decision, Placement, Rejection
from policies.policy import Effort
from policies.request import GuestRequest
from probe.snapshot import HostSnapshot, Hypervisor
from scheduler.cli.sources import read_all, read_configs
from scheduler.executors.port import DefinitionKind
from scheduler.files.fleet_file import FleetGuest
from scheduler.planning import plan_fleet, view_hosts


def choose_home(
    request: GuestRequest,
    hosts: Sequence[str],
    hosts_path: Path | None,
    policy: str,
    effort: Effort,
    *,
    hypervisor: Hypervisor | None = None,
) -> tuple[Decision, HostSnapshot]:
    """The policy's decision for one guest, and the host that it is on (the first, if on none).

    `hypervisor` is what runs the guest, where the source of a host does not tell.
    """
    configs = read_configs(hosts, hosts_path)
    read = read_all(configs).snapshots
    snapshots = {name: replace(each, hypervisor=each.hypervisor or hypervisor) for name, each in read.items()}
    file = plan_fleet([FleetGuest(request=request)], {}, view_hosts(configs, snapshots, None), policy, effort)
    (decision,) = file.plan.decisions
    home = decision.host if isinstance(decision, Placement) else next(iter(snapshots))
    return decision, snapshots[home]


def would_fit(rejection: Rejection, way: Callable[[Mapping[str, str]], str]) -> str:
    """A line with what would make the guest fit, and how the command is told of it; "" where nothing is known to.

    Args:
        way: how it is told of changes of size and pages, by key.
    """
    if not rejection.fits_if:
        return ""
    changed = dict(part.split(": ", 1) for part in rejection.fits_if.split(", ") if ": " in part)
    options = [_OPTIONS[key].format(value) for key, value in changed.items() if key in _OPTIONS]
    told = ", ".join(filter(None, [way(changed), *options]))
    return f"\nIt would fit if: {rejection.fits_if} ({told})"


_OPTIONS = {
    "max_nodes": "--max-nodes {}",
    "cells": "--cells {}",
    "cpus": "no --dedicated, no --dedicated-vcpus",
    "far_memory": "--far-memory",
}
"""How a change is asked for where one guest is asked for by options."""


def definition_kind(snapshot: HostSnapshot) -> DefinitionKind:
    """What a guest's definition is on a host; KVM where the source does not tell."""
    return DefinitionKind.XEN_XML if snapshot.hypervisor is Hypervisor.XEN else DefinitionKind.KVM_XML
