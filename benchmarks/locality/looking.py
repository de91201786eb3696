"""Looking at guests until they have touched their memory, with the observers of the product."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policies.plan import Placement
from probe.errors import BadInputError
from probe.snapshot import OccupantState
from scheduler.executors.port import DefinitionKind, Observation
from scheduler.files.hosts_file import HostConfig
from scheduler.steps import Site

TOUCHED = 0.8
"""A guest with so much of its memory resident has touched it: a kernel of its own keeps the rest."""

BETWEEN_LOOKS_S = 2.0
_STEADY_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A guest that was created: its uuid, and its placement, which tells its cells and its host."""

    uuid: str
    placement: Placement

    @property
    def memory_kib(self) -> int:
        return sum(memory.kib for cell in self.placement.cells for memory in cell.memory)


def pages_are_seen(config: HostConfig, kind: DefinitionKind) -> None:
    """Raises `BadInputError` where nobody could count the pages of a guest on this host."""
    if config.executor in ("sim", "xl"):
        return
    if kind is DefinitionKind.XEN_XML:
        if config.xl is None:
            raise BadInputError(
                f"host {config.name}: libvirt does not tell where a Xen guest's pages are.",
                advice="Maybe add xl+ssh://root@HOST (or xl:) to its sources.",
            )
    elif config.ssh is None and (":///" not in (uri := config.connect or "") or "+" in uri.partition(":")[0]):
        raise BadInputError(
            f"host {config.name}: libvirt does not tell where a guest's pages are.",
            advice="Maybe add sysfs+ssh://root@HOST to its sources, or ssh: root@HOST.",
        )


def settled(
    configs: Sequence[HostConfig],
    sites: Mapping[str, Site],
    guests: Sequence[Running],
    *,
    patience_s: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[dict[str, Observation], bool]:
    """What is seen of the guests that run, by uuid, once each has touched its memory; whether that was in time.

    A guest has when `TOUCHED` of it is resident and no more comes from one look to the next.
    """
    began = clock()
    before: dict[str, int] = {}
    while True:
        now = look(configs, sites, guests)
        kib = {uuid: sum((seen.resident_kib or {}).values()) for uuid, seen in now.items()}
        wanted = {one.uuid: TOUCHED * one.memory_kib for one in guests if one.uuid in now}
        if all(kib[uuid] >= least and kib[uuid] - before.get(uuid, 0) <= _STEADY_KIB for uuid, least in wanted.items()):
            return now, True
        if clock() - began > patience_s:
            return now, False
        before = kib
        sleep(BETWEEN_LOOKS_S)


def look(configs: Sequence[HostConfig], sites: Mapping[str, Site], guests: Sequence[Running]) -> dict[str, Observation]:
    """What is seen now of those that run; one that ended, or that cannot be seen, is left out."""
    found: dict[str, Observation] = {}
    for config in configs:
        site = sites[config.name]
        states = {domain.uuid: domain.state for domain in site.executor.list_domains()}
        here = [one.uuid for one in guests if states.get(one.uuid) is OccupantState.RUNNING]
        if here:
            seen = site.executor.observe_all(here, memory=True)
            found |= {uuid: each for uuid in here if isinstance(each := seen.get(uuid), Observation)}
    return found
