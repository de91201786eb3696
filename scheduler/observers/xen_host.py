"""Where all domains of a Xen host are, seen from its dom0: affinities, and Xen's own page counts.

One look serves every domain of the host: `xl debug-keys u` is sent once (it walks every page of
every domain, and all CPUs wait for the console). Xen has printed all when the call returns
(`XEN_SYSCTL_debug_keys` runs the handler itself; seen on 4.17.7). The ring is never cleared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.sources.shell import HostShell, joined, split
from probe.sources.xen_domains import (
    XlVcpu,
    by_uuid,
    parse_xl_cpupool_cpus,
    parse_xl_list,
    parse_xl_vcpu_list,
    pool_of,
)
from scheduler.executors.port import Observation, OutcomeUnknownError
from scheduler.executors.xl_calls import ask
from scheduler.observers.xen_pages import parse_pages

_DUMP = "{ xl debug-keys u && xl dmesg; true; }"
"""A Xen that refuses it still tells affinities."""

_AFFINITIES = ("xl list -v -c", "xl vcpu-list", "xl cpupool-list -c")

_HOW = "xl vcpu-list, xl debug-keys u"
_NOT_ASKED = "xl vcpu-list; pages were not asked for"
_NO_DUMP = "xl vcpu-list; pages unknown: no whole dump in Xen's console ring, maybe boot Xen with conring_size=1M"


def observe_host(shell: HostShell, *, memory: bool = True) -> Mapping[str, Observation]:
    """Every running or paused domain by its uuid. Where Xen's dump was not whole, pages are unknown.

    Without `memory` no dump is asked for.

    Raises:
        HostUnreachableError: it could not be asked.
        OutcomeUnknownError: it answered what nobody can read.
    """
    output = ask(shell, "observe", joined([_DUMP if memory else "true", *_AFFINITIES]))
    try:
        return parse_observations(output, origin=str(shell), how_not=_NO_DUMP if memory else _NOT_ASKED)
    except SourceMalformedError as error:
        raise OutcomeUnknownError(error.message) from error


def parse_observations(output: str, *, origin: str, how_not: str = _NO_DUMP) -> Mapping[str, Observation]:
    """The outputs of the commands as observations. Raises `SourceMalformedError`."""
    ring, listed, vcpus, pool_cpus = split(output, 1 + len(_AFFINITIES), origin=origin)
    pages = parse_pages(ring) or {}
    pools = parse_xl_cpupool_cpus(pool_cpus, origin=f"{origin}: xl cpupool-list -c")
    rows: dict[int, list[XlVcpu]] = defaultdict(list)
    for row in parse_xl_vcpu_list(vcpus, origin=f"{origin}: xl vcpu-list"):
        rows[row.domain_id].append(row)
    every_cpu = CpuSet.union(pools.values())
    listed_domains = parse_xl_list(listed, origin=f"{origin}: xl list -v -c")
    return {
        uuid: _observation(
            rows[domain.domain_id], pool_of(domain, pools) or every_cpu, pages.get(domain.domain_id), how_not
        )
        for uuid, domain in by_uuid(listed_domains).items()
    }


def _observation(
    rows: Sequence[XlVcpu], room: CpuSet, resident_kib: Mapping[int, int] | None, how_not: str
) -> Observation:
    """`room`: the CPUs of the domain's cpupool, which bound every affinity."""
    hard = {row.vcpu: room if row.hard is None else row.hard & room for row in rows}
    soft = {row.vcpu: hard[row.vcpu] & row.soft for row in rows if row.soft is not None}
    return Observation(
        vcpu_cpus=hard,
        emulator_cpus=None,
        memory_nodes_allowed=None,
        resident_kib=resident_kib,
        how=how_not if resident_kib is None else _HOW,
        soft_cpus={vcpu: cpus for vcpu, cpus in soft.items() if cpus and cpus != hard[vcpu]},
    )
