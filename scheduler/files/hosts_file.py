"""hosts.yaml: the hosts, how each is reached, and how much of it may be promised.

This file and `--host` are the only origin of a connection URI: a URI can run a program
(`qemu+ssh://…?command=`, measured), so none is ever taken from a plan or a ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from policies.host_rules import HostRules
from policies.request import GUEST_NAME, HostName
from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.sources.libvirt_uri import check_libvirt_uri
from probe.sources.registry import KINDS
from probe.sources.ssh import SshTarget, parse_ssh_target
from probe.sources.xen_xl import parse_xl_shell
from probe.topology import HostTopology
from scheduler.files.document import read_document
from scheduler.files.fields import Cpus, Entry, Ratio, SizeKib, Source

DEFAULT_RESERVE_KIB = 256 * 1024
"""4 KiB memory kept back per node where hosts.yaml says nothing: kernel, libvirtd, page tables."""

_FILE_KINDS = frozenset({"sysfs", "capabilities", "xl", "hwloc", "numactl", "sim", "snapshot"})


class CpuPartition(Entry):
    """How a host's pCPUs are shared out. None of the first two: an undivided host."""

    dedicated: Cpus | None = Field(default=None, description="pCPUs for guests that own theirs")
    shared: Cpus | None = Field(default=None, description="pCPUs on which the other guests float")
    housekeeping: Cpus = Field(default=CpuSet(), description="pCPUs without vCPUs")

    @model_validator(mode="after")
    def _no_cpu_is_in_two_parts(self) -> Self:
        parts = {"dedicated": self.dedicated, "shared": self.shared, "housekeeping": self.housekeeping}
        told = {name: cpus for name, cpus in parts.items() if cpus is not None}
        for one, other in combinations(told, 2):
            if both := told[one] & told[other]:
                raise ValueError(f"pCPUs {both} are both {one} and {other}; each may be in one part only")
        return self


class HostEntry(Entry):
    """One host. README, "hosts.yaml", gives the meaning of each key."""

    sources: list[Source] = Field(min_length=1, description="where the host is read from, see `numaplace probe --help`")
    executor: Literal["libvirt", "xl", "sim"] | None = Field(default=None, description="default: by the sources")
    connect: str | None = Field(default=None, description="what guests are created through; default: by the sources")
    ssh: str | None = Field(
        default=None, description="user@host[:port] for what only /proc can tell; default: a sysfs+ssh source"
    )
    reserve: SizeKib = Field(default=DEFAULT_RESERVE_KIB, description="memory kept back on each node")
    node_reserve: dict[int, SizeKib] = Field(default_factory=dict, description="node id: another reserve there")
    cpus: CpuPartition = Field(default=CpuPartition(), description="the partition of the pCPUs")
    overcommit: Ratio = Field(default=Fraction(1), description="shared vCPUs per shared pCPU")
    guest_overhead: SizeKib = Field(default=64 * 1024, description="process memory of each guest that is not ours")
    count_shutoff: bool = Field(default=True, description="shut-off guests keep what they declare")
    rack: str | None = Field(default=None, description="where it stands")
    fault_domains: dict[str, str] = Field(default_factory=dict, description="kind: name, e.g. power: a")
    schedulable: bool = Field(default=True, description="false: takes no new guests")
    allow_tcp: bool = Field(default=False, description="allow qemu+tcp:// beyond loopback, in the clear")


class HostsFile(Entry):
    """A hosts file."""

    schema_: Literal[1] = Field(default=1, alias="schema", description="version of this schema")
    hosts: dict[str, HostEntry] = Field(min_length=1, description="name: host")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """One host as the operator describes it.

    Attributes:
        sources: what to read, first one first; file paths are made relative to the working folder.
        executor: None where guests can be planned but not created (a recording).
        ssh: where the kernel of a KVM host is asked about its guests; None: not, or this machine.
        connect: a libvirt URI, `xl:`, `xl+ssh://…`, or the path of an embedded host; None without an executor.
    """

    name: HostName
    sources: tuple[str, ...]
    executor: str | None = None
    connect: str | None = None
    ssh: SshTarget | None = None
    rules: HostRules = field(default_factory=HostRules)
    allow_tcp: bool = False

    @property
    def xl(self) -> str | None:
        """The source through which Xen itself is asked where pages are, also where libvirt creates guests."""
        return next((source for source in self.sources if source == "xl:" or source.startswith("xl+ssh:")), None)


def read_hosts(path: Path) -> tuple[HostConfig, ...]:
    """The hosts of a hosts file, in the file's order.

    Raises:
        FileInvalidError: the file does not follow its schema; names file, line and key.
        SourceUnreadableError: the file cannot be read.
    """
    document = read_document(path)
    configs = []
    for name, entry in document.validate(HostsFile).hosts.items():
        try:
            configs.append(host_config(name, entry, folder=path.parent))
        except BadInputError as error:
            raise document.error(["hosts", name], error.message, advice=error.advice) from error
    return tuple(configs)


def host_of_source(source: str, name: str) -> HostConfig:
    """A host that is named by `--host SOURCE` alone, with the default rules."""
    return host_config(name, HostEntry(sources=[source]), folder=Path())


def host_config(name: str, entry: HostEntry, *, folder: Path) -> HostConfig:
    """One entry as a value. Raises `BadInputError` for a bad name, URI or combination."""
    if GUEST_NAME.fullmatch(name) is None:
        raise BadInputError("a host's name has letters, digits and . _ + @ - only, and at most 63.")
    sources = tuple(_resolved(source, folder) for source in entry.sources)
    executor, connect = _executor(entry, sources, folder)
    for uri in (
        *(s for s in sources if _is_libvirt(s)),
        *([connect] if executor == "libvirt" and connect else []),
    ):
        check_libvirt_uri(uri, allow_tcp=entry.allow_tcp)
    if executor == "xl":
        parse_xl_shell(connect or "")
    return HostConfig(
        name=HostName(name),
        sources=sources,
        executor=executor,
        connect=connect,
        ssh=_ssh(entry, sources),
        rules=_rules(entry),
        allow_tcp=entry.allow_tcp,
    )


def check_host(config: HostConfig, topology: HostTopology) -> None:
    """Whether the pCPUs and nodes that a host's entry names are there.

    A pCPU between others may be offline, which not every source tells; one beyond the last is not there.

    Raises:
        BadInputError: some are not.
    """
    rules, there = config.rules, topology.online_cpus | topology.offline_cpus
    last = max(there.ids, default=-1)
    parts = {
        "dedicated": rules.dedicated_cpus,
        "shared": rules.shared_cpus,
        "housekeeping": rules.housekeeping_cpus,
    }
    for name, cpus in parts.items():
        if absent := CpuSet(frozenset(cpu for cpu in cpus or () if cpu > last)):
            raise BadInputError(
                f"host {config.name}: cpus.{name} has {absent}, and the host has pCPUs {there}.",
                advice="Maybe mend it in the hosts file.",
            )
    if strange := sorted(set(rules.node_reserve_kib) - topology.node_ids.ids):
        raise BadInputError(
            f"host {config.name}: node_reserve has node {strange[0]}, and the host has nodes {topology.node_ids}.",
            advice="Maybe mend it in the hosts file.",
        )


def _ssh(entry: HostEntry, sources: tuple[str, ...]) -> SshTarget | None:
    """As told, else where its sysfs is read."""
    told = f"//{entry.ssh}" if entry.ssh else None
    by_default = (source.removeprefix("sysfs+ssh:") for source in sources if source.startswith("sysfs+ssh:"))
    rest = told or next(by_default, None)
    return None if rest is None else parse_ssh_target(rest, spec=f"ssh:{rest}")


def _rules(entry: HostEntry) -> HostRules:
    return HostRules(
        reserve_kib=entry.reserve,
        node_reserve_kib=entry.node_reserve,
        dedicated_cpus=entry.cpus.dedicated,
        shared_cpus=entry.cpus.shared,
        housekeeping_cpus=entry.cpus.housekeeping,
        overcommit=entry.overcommit,
        guest_overhead_kib=entry.guest_overhead,
        count_shutoff=entry.count_shutoff,
        schedulable=entry.schedulable,
        domains={**entry.fault_domains, **({"rack": entry.rack} if entry.rack else {})},
    )


def _executor(entry: HostEntry, sources: tuple[str, ...], folder: Path) -> tuple[str | None, str | None]:
    """Which executor creates guests, and through what: as told, else by the first source that can."""
    creating: dict[str, str] = {}
    for source in sources:
        if creator := _creator(source):
            creating.setdefault(creator, source)
    by_default = (_creator(entry.connect) or "sim") if entry.connect else next(iter(creating), None)
    kind = entry.executor or by_default
    connect = entry.connect or creating.get(kind or "")
    if kind is not None and connect is None:
        raise BadInputError(f"executor {kind!r} needs `connect`, or a source of that kind.")
    if kind == "sim" and connect is not None:
        connect = _resolved(f"sim:{connect.removeprefix('sim:')}", folder) if entry.connect else connect
        connect = connect.removeprefix("sim:")
    return kind, connect


def _creator(source: str) -> str | None:
    """The executor that can create guests through this; None for what is only read."""
    if _is_libvirt(source):
        return "libvirt"
    if source == "xl:" or source.startswith("xl+ssh:"):
        return "xl"
    return "sim" if source.startswith("sim:") else None


def _is_libvirt(text: str) -> bool:
    scheme = text.partition(":")[0].partition("+")[0]
    return scheme in ("qemu", "xen", "test") and ":" in text


def _resolved(source: str, folder: Path) -> str:
    """The source with its file made relative to the folder that the hosts file lies in."""
    scheme, colon, rest = source.partition(":")
    if not colon and source.endswith(".json"):
        return str(folder / source)
    if scheme in KINDS and scheme in _FILE_KINDS and rest:
        return f"{scheme}:{folder / rest}"
    return source
