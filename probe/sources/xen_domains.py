"""The texts of `xl list`, `xl vcpu-list` and `xl cpupool-list` (Xen, tools/xl).

A name may hold anything, so rows are read from the right. `xl list -n` is not asked for: its "NODE
Affinity" is no place of memory (measured; lab/xen/NOTES.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.snapshot import OccupantState

_DOMAIN = re.compile(
    r"(?P<name>.*?)\s+(?P<id>\d{1,9})\s+(?P<mib>\d{1,12})\s+(?P<vcpus>\d{1,6})\s+(?P<state>[-rbpscdwS?]{6})\s+"
    r"(?P<time>\d+\.\d)(?P<rest>.*)",
    re.ASCII,
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_VCPU = re.compile(
    r"(?P<name>.*?)\s+(?P<id>\d{1,9})\s+(?P<vcpu>\d{1,6})\s+(?P<cpu>\d+|-)\s+(?P<state>[-rbp]{3})\s+"
    r"(?P<time>\d+\.\d)\s+(?P<hard>any cpu|[^/\s]+)(?:\s*/\s*(?P<soft>\S+))?\s*",
    re.ASCII,
)
_POOL = re.compile(
    r"(?P<name>\S.*?)\s+(?P<cpus>\d+)\s+(?P<scheduler>\S+)\s+(?P<active>[yn])\s+(?P<domains>\d{1,9})\s*", re.ASCII
)
_POOL_CPUS = re.compile(r"(?P<name>\S.*?)\s+(?P<cpus>\d[\d,-]*)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class XlDomain:
    """A row of `xl list`.

    Attributes:
        vcpus: those that are plugged in; the maximum is the number of rows of `xl vcpu-list`.
        uuid: None without `-v`.
        cpupool: None without `-c`.
    """

    domain_id: int
    name: str
    memory_kib: int
    vcpus: int
    state: OccupantState
    uuid: str | None = None
    cpupool: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class XlVcpu:
    """A row of `xl vcpu-list`. An affinity is None for "all"; soft also before Xen 4.5."""

    domain_id: int
    vcpu: int
    hard: CpuSet | None
    soft: CpuSet | None


@dataclass(frozen=True, slots=True, kw_only=True)
class XlPool:
    """A row of `xl cpupool-list`."""

    name: str
    scheduler: str
    domains: int


def parse_xl_list(text: str, *, origin: str) -> tuple[XlDomain, ...]:
    """Read `xl list`, with or without `-v` and `-c`. Dom0 ("Domain-0") is among them.

    Raises:
        SourceMalformedError: it has no heading, or a row that is none.
    """
    heading, rows = _heading(text, "Name", origin)
    pooled = heading.split()[-1:] == ["Cpupool"]
    domains = []
    for row in rows:
        if not (match := _DOMAIN.fullmatch(row)):
            raise SourceMalformedError(origin, "a row 'Name ID Mem VCPUs State Time(s)'", row)
        uuid = _UUID.search(match["rest"])
        words = match["rest"].split()
        domains.append(
            XlDomain(
                domain_id=int(match["id"]),
                name=match["name"],
                memory_kib=int(match["mib"]) * 1024,
                vcpus=int(match["vcpus"]),
                state=_state(match["state"]),
                uuid=uuid[0] if uuid else None,
                cpupool=words[-1] if pooled and words else None,
            )
        )
    return tuple(domains)


def parse_xl_vcpu_list(text: str, *, origin: str) -> tuple[XlVcpu, ...]:
    """Read `xl vcpu-list`. Raises `SourceMalformedError` as `parse_xl_list`."""
    vcpus = []
    for row in _heading(text, "Name", origin)[1]:
        if not (match := _VCPU.fullmatch(row)):
            raise SourceMalformedError(origin, "a row 'Name ID VCPU CPU State Time(s) Affinity'", row)
        vcpus.append(
            XlVcpu(
                domain_id=int(match["id"]),
                vcpu=int(match["vcpu"]),
                hard=_affinity(match["hard"], row, origin),
                soft=_affinity(match["soft"] or "all", row, origin),
            )
        )
    return tuple(vcpus)


def parse_xl_cpupool_list(text: str, *, origin: str) -> tuple[XlPool, ...]:
    """Read `xl cpupool-list`. Raises `SourceMalformedError` as `parse_xl_list`."""
    pools = []
    for row in _heading(text, "Name", origin)[1]:
        if not (match := _POOL.fullmatch(row)):
            raise SourceMalformedError(origin, "a row 'Name CPUs Sched Active Domain count'", row)
        pools.append(XlPool(name=match["name"], scheduler=match["scheduler"], domains=int(match["domains"])))
    return tuple(pools)


def parse_xl_cpupool_cpus(text: str, *, origin: str) -> Mapping[str, CpuSet]:
    """Read `xl cpupool-list -c`: pool to its CPUs. Raises `SourceMalformedError` as `parse_xl_list`."""
    pools = {}
    for row in _heading(text, "Name", origin)[1]:
        if not (match := _POOL_CPUS.fullmatch(row)):
            raise SourceMalformedError(origin, "a row 'Name CPU list'", row)
        pools[match["name"]] = _affinity(match["cpus"] or "", row, origin) or CpuSet()
    return pools


def by_uuid(domains: Iterable[XlDomain]) -> Mapping[str, XlDomain]:
    """Domains by uuid. One that is being taken down may share its uuid with its successor, which is meant then."""
    dying_first = sorted(domains, key=lambda domain: domain.state is not OccupantState.OTHER)
    return {domain.uuid: domain for domain in dying_first if domain.uuid is not None}


def pool_of(domain: XlDomain, pools: Mapping[str, CpuSet]) -> CpuSet | None:
    """The CPUs of its cpupool, which bound every affinity; None where its pool is not told."""
    return pools.get(domain.cpupool or "", next(iter(pools.values())) if len(pools) == 1 else None)


def _heading(text: str, word: str, origin: str) -> tuple[str, Iterator[str]]:
    """The heading, and the rows below it."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith(word):
        raise SourceMalformedError(origin, f"a table whose heading begins with {word!r}", text.strip()[:60])
    return lines[0], iter(lines[1:])


def _state(letters: str) -> OccupantState:
    """Places: running, blocked (idle), paused, shut down and why, dying."""
    if letters[3] == "s" or letters[5] == "d":
        return OccupantState.OTHER
    return OccupantState.PAUSED if letters[2] == "p" else OccupantState.RUNNING


def _affinity(text: str, row: str, origin: str) -> CpuSet | None:
    if text in ("all", "any cpu"):
        return None
    try:
        return CpuSet.parse(text)
    except ValueError as error:
        raise SourceMalformedError(origin, "an affinity like 0-3,8 or all", row) from error
