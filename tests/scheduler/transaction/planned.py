"""The world of the transaction's tests with plans in it: real planning, on the hosts as they are."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

from policies.plan import MemoryMode
from policies.policy import Effort
from policies.request import CpuPolicy, GuestName, GuestRequest, HostName
from probe.cpuset import CpuSet
from probe.snapshot_json import snapshot_to_json
from scheduler.apply import Course, Outcome
from scheduler.applying import apply_plan
from scheduler.files.fleet_file import FleetGuest
from scheduler.files.hosts_file import HostConfig
from scheduler.plan_file import PlanFile
from scheduler.planning import plan_fleet, view_hosts
from scheduler.reading import read_hosts_of
from scheduler.steps import Faults, NoFaults
from tests.policies.hosts import GIB_KIB
from tests.scheduler.sim.hosts import numatune, pins
from tests.scheduler.transaction.world import FLAVOURS, World


def request(name: str, *, vcpus: int = 1, gib: int = 1, page_kib: int = 4, dedicated: bool = False) -> GuestRequest:
    return GuestRequest(
        name=GuestName(name),
        vcpus=vcpus,
        memory_kib=gib * GIB_KIB,
        page_kib=page_kib,
        cpus=CpuPolicy.DEDICATED if dedicated else CpuPolicy.SHARED,
    )


class PlannedWorld(World):
    """Two hosts of 2 nodes, each with 4 pCPUs, 7 GiB and 512 huge pages; `first-fit` fills them in order."""

    @property
    def configs(self) -> tuple[HostConfig, ...]:
        files = {name: self.folder / f"{name}.sim" for name in FLAVOURS}
        return tuple(
            HostConfig(name=HostName(name), sources=(f"sim:{file}",), executor="sim", connect=str(file))
            for name, file in files.items()
        )

    def plan(
        self, *requests: GuestRequest, policy: str = "first-fit", templates: dict[str, str] | None = None
    ) -> PlanFile:
        """Guests with a template where there is one, the same for all."""
        template = next(iter(templates or {}), None)
        guests = [FleetGuest(request=each, template=template) for each in requests]
        with self.ledger() as ledger:
            views = view_hosts(self.configs, read_hosts_of(self.configs).snapshots, ledger)
        return plan_fleet(guests, templates or {}, views, policy, Effort())

    def apply_plan(self, file: PlanFile, *, faults: Faults | None = None, retries: int = 2) -> dict[str, Outcome]:
        course = Course(faults=faults or NoFaults(), retries=retries)
        with self.ledger() as ledger:
            done = apply_plan(file, self.configs, read_hosts_of(self.configs), ledger, course)
        return {outcome.guest: outcome for outcome in done}

    def fill(self, host: str, node: int, gib: int, *, name: str = "") -> None:
        """A stranger with so much memory of a node, all of it touched."""
        where = numatune(MemoryMode.STRICT.value, str(node)) + pins(*[str(4 * node + cpu) for cpu in (2, 3)])
        uuid = self.stranger(name or f"theirs-{host}-{node}", host, inner=where, mib=gib * 1024)
        with self.sim(host) as sim:
            sim.touch(uuid, gib * GIB_KIB)

    def homes(self) -> dict[str, tuple[str, str]]:
        """Guest to its host and the nodes of its memory, in the books."""
        with self.ledger() as ledger:
            return {claim.guest: (claim.host, str(claim.placement.memory_nodes)) for claim in ledger.claims()}

    def notes(self, guest: str) -> list[str]:
        with self.ledger() as ledger:
            return [event.note for event in ledger.events(guest) if event.note]


def world_in(folder: Path) -> PlannedWorld:
    made = PlannedWorld.made(folder)
    assert isinstance(made, PlannedWorld)
    return made


def take_offline(world: PlannedWorld, host: str, cpu: int) -> None:
    """From now on the host shows no such CPU; its hypervisor was opened before, or is opened later."""
    with world.sim(host) as sim:
        topology = sim.base.topology
        gone = CpuSet.of(cpu)
        nodes = tuple(replace(node, cpus=node.cpus - gone) for node in topology.nodes)
        cores = tuple(core for core in topology.cores if core.cpus.isdisjoint(gone))
        left = replace(topology, nodes=nodes, cores=cores, online_cpus=topology.online_cpus - gone)
        text = json.dumps(snapshot_to_json(replace(sim.base, topology=left, usable_cpus=left.online_cpus)))
    with sqlite3.connect(world.folder / f"{host}.sim") as file:
        file.execute("UPDATE host SET base = ?", (text,))
        file.execute("UPDATE published SET snapshot = ?", (text,))
    file.close()
