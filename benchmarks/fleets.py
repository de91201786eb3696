"""Whole fleets to place, as arrays: recorded ones, and random ones of any size."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.scenarios.data import ADVICE, DataMissingError
from benchmarks.scenarios.traces.table import TableRow, read_table
from policies.patterns.question import Batch, Flavour, Form, GroupOf, Ints, Share, Supply
from policies.request import GroupRule
from probe.errors import BadInputError, SourceMalformedError
from probe.limits import DEFAULT_LIMITS
from probe.sources.files import read_bytes_file

MIB_KIB, GIB_KIB = 1024, 1024 * 1024

HUAWEI = "traces/huawei-topology-aware"
_RULES = {
    "affinity": (GroupRule.AFFINITY, "rack"),
    "anti-affinity": (GroupRule.ANTI_AFFINITY, "host"),
    "fault_domain": (GroupRule.FAULT_DOMAINS, "rack"),
}
_XLRD = "Maybe install it: pip install 'numaplace[bench]'"
_GUEST = ("flavor_vcpus", "flavor_ram", "numa", "strategy", "group", "domain")


def huawei(data: Path, batches: Sequence[str], *, by_vcpu: bool = False) -> tuple[Supply, Batch]:
    """Batches ("C1", "C2") of guests on 1,710 half-used hosts of two nodes, in racks; see data/MANIFEST.md.

    The largest flavour is the reference: as much room as can be is kept for it.

    Args:
        by_vcpu: a guest weighs as many as its vCPUs.

    Raises:
        DataMissingError: the traces are not there.
        SourceMalformedError: a file of them says something else.
    """
    return huawei_supply(data), huawei_batch(data, batches, by_vcpu=by_vcpu)


def huawei_supply(data: Path) -> Supply:
    """Those hosts. Raises as `huawei`."""
    hosts = read_table(_huawei_csv(data) / "PM_res.csv", ("CPU1", "RAM1", "CPU2", "RAM2"))
    return Supply(
        first_row=np.arange(0, 2 * len(hosts) + 1, 2),
        cpus=_numbers([host.whole(f"CPU{node}") for host in hosts for node in (1, 2)]),
        memory_kib={4: _numbers([host.whole(f"RAM{node}") for host in hosts for node in (1, 2)]) * GIB_KIB},
        domains={"rack": _racks(data / HUAWEI / "topology_provider.xls")[: len(hosts)]},
    )


def huawei_batch(data: Path, batches: Sequence[str], *, by_vcpu: bool = False) -> Batch:
    """Those batches. Arguments and errors as of `huawei`."""
    folder = _huawei_csv(data)
    guests = [(name, row) for name in batches for row in read_table(folder / f"VM_data_{name}.csv", _GUEST)]
    shapes = [(row.whole("flavor_vcpus"), row.whole("flavor_ram"), row.whole("numa")) for _, row in guests]
    kinds = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
    flavours = [_flavour(*shape, weight=shape[0] if by_vcpu else 1) for shape in kinds]
    return Batch(
        flavours=(*flavours, _flavour(*max(kinds), weight=0)),
        flavour_of=_numbers([kinds[shape] for shape in shapes]),
        groups=tuple(_groups(guests)),
    )


def _huawei_csv(data: Path) -> Path:
    folder = data / HUAWEI / "csv"
    if not folder.is_dir():
        raise DataMissingError(f"{folder}: not there.", advice=ADVICE)
    return folder


def _numbers(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _racks(path: Path) -> Ints:
    """The rack of each host."""
    try:
        import xlrd
    except ImportError as error:
        raise BadInputError(
            "The racks of Huawei's hosts are in a .xls file, which needs xlrd.", advice=_XLRD
        ) from error
    content = read_bytes_file(path, limits=DEFAULT_LIMITS)
    try:
        names, *rows = xlrd.open_workbook(file_contents=content).sheet_by_index(0).get_rows()
        column = [cell.value for cell in names].index("rack_id")
        return np.unique([str(row[column].value) for row in rows], return_inverse=True)[1].astype(np.int64)
    except (xlrd.XLRDError, xlrd.compdoc.CompDocError, ValueError, IndexError, struct.error, AssertionError) as error:
        raise SourceMalformedError(str(path), "a workbook with a column rack_id", error) from error


def _groups(guests: Sequence[tuple[str, TableRow]]) -> Iterator[GroupOf]:
    members: dict[tuple[str, str, str], list[int]] = {}
    for number, (batch, row) in enumerate(guests):
        if strategy := row.text("strategy"):
            if strategy not in _RULES:
                raise SourceMalformedError(f"{row.origin}, strategy", f"one of {', '.join(_RULES)}", strategy)
            members.setdefault((batch, strategy, row.text("group")), []).append(number)
    for (_, strategy, _), who in members.items():
        rule, level = _RULES[strategy]
        rows = [guests[number][1] for number in who]
        parts = [row.whole("domain") if row.text("domain") else 0 for row in rows]
        yield GroupOf(rule=rule, level=level, members=_numbers(who), parts=_numbers(parts))


def _flavour(vcpus: int, gib: int, cells: int, page_kib: int = 4, weight: int = 1) -> Flavour:
    share = Share(vcpus=vcpus // cells, memory_kib=gib * GIB_KIB // cells)
    return Flavour(forms=(Form(shares=(share,) * cells),), page_kib=page_kib, weight=weight)


_SHAPES = (
    (2, 64, 256, 0),
    (8, 16, 64, 0),
    (4, 32, 128, 0),
    (2, 64, 160, 0),
    (4, 32, 128, 32),
    (2, 64, 320, 96),
    (1, 64, 256, 0),
)
"""Of random hosts: nodes, and per node CPUs, GiB of memory, and GiB of that in pages of 1 GiB."""
_SHARES_OF_SHAPES = (0.25, 0.2, 0.15, 0.15, 0.1, 0.1, 0.05)
_FLAVOURS = (
    (1, 2, 1), (2, 4, 1), (2, 8, 1), (4, 8, 1), (4, 16, 1), (8, 16, 1), (8, 32, 1), (16, 32, 1), (16, 64, 1),
    (12, 48, 1), (16, 32, 2), (24, 96, 2), (32, 64, 2), (4, 16, 1, GIB_KIB), (8, 32, 1, GIB_KIB), (16, 64, 2, GIB_KIB),
)  # fmt: skip
"""Of random guests: vCPUs, GiB, cells, and the page size where it is not 4 KiB."""
_SHARES_OF_FLAVOURS = (4, 6, 8, 8, 12, 9, 11, 10, 8, 6, 5, 6, 6, 4, 3, 2)
_GROUPED = 0.05
"""Of random guests: members of anti-affinity groups."""
_MEMBERS = 5


def random_fleet(hosts: int, *, demand: float = 1.1, overhead_mib: int = 0, seed: int = 1) -> tuple[Supply, Batch]:
    """Hosts of seven shapes with up to 8 nodes, half of them under a random load; guests of 16 flavours.

    Some guests have two cells, some huge pages, some are in groups that want a host each.

    Args:
        demand: the vCPUs of all guests, as a multiple of those that are free.
    """
    rng = np.random.default_rng(seed)
    supply = _random_supply(hosts, rng)
    share = np.array(_SHARES_OF_FLAVOURS) / sum(_SHARES_OF_FLAVOURS)
    mean = share @ np.array([vcpus for vcpus, *_ in _FLAVOURS])
    guests = int(demand * supply.cpus.sum() / mean)
    flavours = tuple(replace(_flavour(*shape), overhead_kib=overhead_mib * MIB_KIB) for shape in _FLAVOURS)
    groups = rng.permutation(guests)[: int(_GROUPED * guests) // _MEMBERS * _MEMBERS].reshape(-1, _MEMBERS)
    nothing = np.zeros(_MEMBERS, dtype=np.int64)
    apart = (GroupOf(rule=GroupRule.ANTI_AFFINITY, level="host", members=m, parts=nothing) for m in groups)
    flavour_of = rng.choice(len(flavours), guests, p=share)
    return supply, Batch(flavours=flavours, flavour_of=flavour_of, groups=tuple(apart))


def _random_supply(hosts: int, rng: np.random.Generator) -> Supply:
    shape_of = rng.choice(len(_SHAPES), hosts, p=_SHARES_OF_SHAPES)
    nodes, *of_node = np.array(_SHAPES).T
    cpus, gib, huge = (amount[np.repeat(shape_of, nodes[shape_of])] for amount in of_node)
    rows = len(cpus)
    loaded = np.repeat(rng.random(hosts) < 0.5, nodes[shape_of])
    load = rng.random(rows) * 0.8 * loaded
    load_of_memory = np.clip(load * rng.uniform(0.6, 1.3, rows), 0, 1)
    memory = (gib - huge) * GIB_KIB
    return Supply(
        first_row=np.concatenate(([0], np.cumsum(nodes[shape_of]))),
        cpus=cpus - np.rint(cpus * load).astype(np.int64),
        memory_kib={
            4: memory - np.rint(memory * load_of_memory / (2 * MIB_KIB)).astype(np.int64) * 2 * MIB_KIB,
            GIB_KIB: (huge - np.rint(huge * load_of_memory * rng.random(rows)).astype(np.int64)) * GIB_KIB,
        },
    )


def different_states(supply: Supply) -> int:
    """Of whole hosts: how many differ in what is free on their nodes, in order."""
    amounts = supply.amounts().T
    of_row = np.unique(amounts, axis=0, return_inverse=True)[1].ravel()
    widest = int(np.diff(supply.first_row).max())
    states = np.full((supply.hosts, widest), -1)
    host = supply.host_of_row()
    states[host, np.arange(len(host)) - supply.first_row[host]] = of_row
    return len(np.unique(states, axis=0))
