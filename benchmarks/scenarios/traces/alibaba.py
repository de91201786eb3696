"""Alibaba's GPU cluster of 2023: hosts, and pods that came and went. GPUs are left aside."""

from __future__ import annotations

from functools import cache

from benchmarks.scenarios.file import HostsEntry, TraceEntry
from benchmarks.scenarios.shapes import resized
from benchmarks.scenarios.traces import TRACES, files_of
from benchmarks.scenarios.traces.coming import Coming
from benchmarks.scenarios.traces.sized import Sized
from benchmarks.scenarios.traces.table import TableRow, read_table
from policies.capacity import HostCapacity
from policies.host_rules import HostRules
from policies.promise import host_capacity
from policies.request import HostName
from probe.errors import SourceMalformedError

_MILLI = 1000
_MOST_CPUS = 4096
_POD = ("name", "cpu_milli", "memory_mib", "creation_time", "deletion_time")


def hosts(entry: HostsEntry, rules: HostRules) -> tuple[HostCapacity, ...]:
    """Every host of the list, built like the shape that stands in for what the trace does not tell."""
    path, _ = files_of(TRACES["alibaba-gpu-v2023"])

    @cache
    def of_size(cpus: int, mib: int) -> HostCapacity:
        return host_capacity(HostName("h"), resized(entry.stand_in, cpus, mib * 1024), rules)

    return tuple(
        of_size(_host_cpus(row), row.whole("memory_mib")) for row in read_table(path, ("cpu_milli", "memory_mib"))
    )


def guests(entry: TraceEntry) -> tuple[Coming, ...]:
    """Every pod, its vCPUs rounded up to whole ones; times as in the trace."""
    _, path = files_of(TRACES["alibaba-gpu-v2023"])
    sized = Sized.of(entry.guest)
    return tuple(_coming(row, sized) for row in read_table(path, _POD))


def _host_cpus(row: TableRow) -> int:
    cpus = row.whole("cpu_milli") // _MILLI
    if not 0 < cpus <= _MOST_CPUS:
        raise SourceMalformedError(f"{row.origin}, cpu_milli", f"1 to {_MOST_CPUS} pCPUs", row.text("cpu_milli"))
    return cpus


def _coming(row: TableRow, sized: Sized) -> Coming:
    vcpus = -(-row.whole("cpu_milli") // _MILLI)
    request = sized.guest(row.text("name"), vcpus, row.whole("memory_mib") * 1024)
    return Coming(request=request, at_s=row.number("creation_time"), until_s=row.number("deletion_time"))
