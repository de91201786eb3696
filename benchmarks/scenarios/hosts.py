"""The hosts of a scenario: what each has left when it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.scenarios.file import HostsEntry
from benchmarks.scenarios.recordings import source_of_recording
from benchmarks.scenarios.shapes import BEGAN, SHAPES, snapshot_of_shape, with_memory
from benchmarks.scenarios.traces import reader, trace_called
from policies.capacity import HostCapacity, NodeCapacity
from policies.fleet import Fleet
from policies.host_rules import HostRules
from policies.promise import host_capacity
from policies.request import HostName
from probe.cpuset import CpuSet, NodeId
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.sources.registry import KINDS, read_source
from probe.topology import HostTopology, PciDevice
from scheduler.files.hosts_file import HostConfig, check_host

FILE_KINDS = frozenset({"sysfs", "capabilities", "xl", "hwloc", "numactl", "snapshot"})
"""Sources that a scenario may name with a file; none that reaches another machine."""
_NETWORK_CARD = "0x020000"


def fleet_of(entries: Sequence[HostsEntry], folder: Path, seed: int) -> Fleet:
    """All hosts, with what the seed loads them with.

    Args:
        folder: where files of sources are looked for.

    Raises:
        BadInputError: a host cannot be read, or has not what the entry names.
        DataMissingError: it is of a public data set that is not here.
    """
    hosts: list[HostCapacity] = []
    for number, entry in enumerate(entries):
        rng = np.random.default_rng((seed, 100 + number))
        hosts += _hosts(entry, folder, len(hosts), rng)
    return Fleet.of(hosts)


def _hosts(entry: HostsEntry, folder: Path, first: int, rng: np.random.Generator) -> Iterator[HostCapacity]:
    """Names go on counting from entry to entry, so that no two are alike."""
    taken = _Load(entry.load / 100, rng)
    for number, host in enumerate(_of_trace(entry, rng) if entry.trace else _alike(entry, folder)):
        named = replace(host, name=HostName(f"{entry.name}{first + number}"))
        yield taken.on(named) if entry.load else named


def _of_trace(entry: HostsEntry, rng: np.random.Generator) -> Iterator[HostCapacity]:
    trace = trace_called(entry.trace or "")
    if not trace.hosts:
        raise BadInputError(f"trace {entry.trace} tells of no hosts.", advice="Maybe take a named shape for them.")
    if entry.stand_in not in SHAPES:
        raise BadInputError(f"stand_in {entry.stand_in[:80]!r}: expected one of {', '.join(SHAPES)}.")
    hosts: tuple[HostCapacity, ...] = reader(trace, "hosts")(entry, rules_of(entry))
    chosen: Sequence[int] = range(len(hosts))
    if entry.sample is not None and entry.sample < len(hosts):
        chosen = sorted(rng.choice(len(hosts), entry.sample, replace=False).tolist())
    return (hosts[number] for number in chosen)


def _alike(entry: HostsEntry, folder: Path) -> Iterator[HostCapacity]:
    like = _one_host(entry, folder)
    return (replace(like, domains=_domains(entry, number)) for number in range(entry.count))


def _one_host(entry: HostsEntry, folder: Path) -> HostCapacity:
    snapshot = _shaped(entry, read_shape(entry.shape or "", folder))
    rules = rules_of(entry)
    check_host(HostConfig(name=HostName(entry.name), sources=(), rules=rules), snapshot.topology)
    return host_capacity(HostName(entry.name), snapshot, rules)


def read_shape(shape: str, folder: Path) -> HostSnapshot:
    """The host of a named shape or a source.

    Raises:
        BadInputError: no shape is called so, the source reaches another machine, or it cannot be read.
    """
    if shape in SHAPES:
        return snapshot_of_shape(shape)
    scheme, colon, rest = shape.partition(":")
    if scheme == "recording":
        return read_source(source_of_recording(rest), now=BEGAN)
    if scheme == "synthetic":
        return read_source(shape, now=BEGAN)
    if scheme in FILE_KINDS and rest:
        return read_source(f"{scheme}:{folder / rest}", now=BEGAN)
    if not colon and shape.endswith(".json"):
        return read_source(str(folder / shape), now=BEGAN)
    known = ", ".join(
        [*SHAPES, "recording:NAME", "synthetic:…", *(f"{kind}:FILE" for kind in KINDS if kind in FILE_KINDS)]
    )
    raise BadInputError(
        f"shape {shape[:80]!r}: expected one of {known}.", advice="Maybe see `numaplace bench list --hosts`."
    )


def _shaped(entry: HostsEntry, snapshot: HostSnapshot) -> HostSnapshot:
    """The host with the memory and the devices that the entry gives it."""
    strange = [node for node in entry.devices.values() if node not in snapshot.topology.node_ids.ids]
    if strange or len(entry.node_memory) > len(snapshot.memory):
        raise BadInputError(
            f"shape {entry.shape}: has nodes {snapshot.topology.node_ids}, and the entry tells of others."
        )
    devices = tuple(
        PciDevice(address=address, node_id=NodeId(node), class_code=_NETWORK_CARD)
        for address, node in sorted(entry.devices.items())
    )
    given = with_memory(snapshot, entry.node_memory)
    return replace(given, topology=replace(given.topology, devices=devices)) if devices else given


def rules_of(entry: HostsEntry) -> HostRules:
    """What is kept back on each host of the entry."""
    return HostRules(
        reserve_kib=entry.reserve,
        node_reserve_kib=entry.node_reserve,
        dedicated_cpus=entry.cpus.dedicated,
        shared_cpus=entry.cpus.shared,
        housekeeping_cpus=entry.cpus.housekeeping,
        overcommit=entry.overcommit,
    )


def _domains(entry: HostsEntry, number: int) -> dict[str, str]:
    """Neighbours share a domain, and domains are equally large."""
    kinds = {**entry.fault_domains, **({"rack": entry.racks} if entry.racks else {})}
    return {kind: f"{kind}{number * many // entry.count + 1}" for kind, many in kinds.items()}


@dataclass(frozen=True, slots=True)
class _Load:
    """Takes a random part of each node: of the pCPUs whole cores first, and about as much memory."""

    mean: float
    rng: np.random.Generator

    def on(self, host: HostCapacity) -> HostCapacity:
        shares = self.rng.beta(4 * self.mean, 4 * (1 - self.mean), len(host.nodes))
        leaning = self.rng.uniform(0.8, 1.2, len(host.nodes))
        ordered = _in_core_order(host.topology)
        taken = zip(host.nodes, shares.tolist(), leaning.tolist(), strict=True)
        return replace(host, nodes=tuple(_taken(node, ordered, share, lean) for node, share, lean in taken))


def _in_core_order(topology: HostTopology) -> dict[int, int]:
    """pCPU to its place: core by core."""
    by_core = [cpu for core in topology.cores for cpu in sorted(core.cpus.ids)]
    return {cpu: place for place, cpu in enumerate(dict.fromkeys([*by_core, *sorted(topology.online_cpus.ids)]))}


def _taken(node: NodeCapacity, place: dict[int, int], share: float, lean: float) -> NodeCapacity:
    own = sorted(node.free_cpus.ids | node.shared_cpus.ids, key=place.__getitem__)
    gone = CpuSet(frozenset(own[: round(share * len(own))]))
    left = 1 - min(1.0, share * lean)
    return replace(
        node,
        free_cpus=node.free_cpus - gone,
        shared_cpus=node.shared_cpus - gone,
        memory_kib={
            page: int(kib * left) // max(page, 1024) * max(page, 1024) for page, kib in node.memory_kib.items()
        },
    )
