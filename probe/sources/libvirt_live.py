"""A host through libvirt, opened read-only: `qemu:///system`, `xen:///system`, remote URIs.

What is asked, and what is not (measured; lab/kvm and lab/xen NOTES.md, research/reliability.md):

* never `getInfo` (`nodeinfo`), which says one cell where a node has no CPUs, and never
  `getFreeMemory`, which answers 0 on a dead connection;
* free memory by `getCellsFreeMemory`: bytes with QEMU and Xen, KiB with the `test` driver;
* nothing reclaimable: per cell libvirt tells total and free only, and the host's `cached` counts
  guests' shared memory too. Combine it with `sysfs:` where page cache fills the host;
* `libvirt` is imported when a host is read, so that everything else runs without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from probe.cpuset import CpuSet, NodeId
from probe.errors import SourceUnreadableError
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot, HugepagePool, Hypervisor, NodeMemory, OccupantState
from probe.sources.libvirt_affinity import vcpu_affinities
from probe.sources.libvirt_capabilities import HostCapabilities, parse_capabilities
from probe.sources.libvirt_occupants import DomainSeen, disagreements_of, occupant_of, state_of
from probe.sources.libvirt_uri import check_libvirt_uri

TIME_LIMIT_S = 120.0
"""A daemon that hangs never answers, and without an event loop libvirt waits for ever."""

_MAX_CELLS = 1024
"""REMOTE_NODE_MAX_CELLS: as many cells as one call may ask for (libvirt, remote_protocol.x)."""

_HYPERVISORS = {"QEMU": Hypervisor.KVM, "Xen": Hypervisor.XEN}
_NO_DOMAIN = 42
"""VIR_ERR_NO_DOMAIN: it went away while we were looking."""

Result = TypeVar("Result")


def read_libvirt(
    uri: str,
    *,
    limits: ReadLimits,
    now: datetime,
    spec: str,
    allow_tcp: bool = False,
    time_limit_s: float = TIME_LIMIT_S,
) -> HostSnapshot:
    """Read the host behind a libvirt URI, with its running, paused and shut-off domains.

    Raises:
        BadInputError: the URI is none that may be opened (`check_libvirt_uri`).
        SourceUnreadableError: libvirt-python is not installed, or no daemon answers, or not in time.
        SourceMalformedError: it has no cells, or an XML that cannot be read.
    """
    check_libvirt_uri(uri, allow_tcp=allow_tcp)
    libvirt = import_libvirt(uri)

    def read() -> HostSnapshot:
        try:
            with closing(libvirt.openReadOnly(uri)) as connection:
                return snapshot_of_connection(libvirt, connection, limits=limits, now=now, spec=spec)
        except libvirt.libvirtError as error:
            text = error.get_error_message() or str(error)
            raise SourceUnreadableError(uri, text, advice=advice_for(text)) from error

    return _within(time_limit_s, read, origin=uri)


def import_libvirt(origin: str) -> Any:
    """The `libvirt` module, its printing to stderr silenced. Raises `SourceUnreadableError`."""
    try:
        import libvirt
    except ImportError as error:
        raise SourceUnreadableError(
            origin, "libvirt-python is not installed", advice="Maybe: pip install 'numaplace[libvirt]'"
        ) from error
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt


def snapshot_of_connection(
    libvirt: Any, connection: Any, *, limits: ReadLimits, now: datetime, spec: str
) -> HostSnapshot:
    """Everything that an open connection tells of its host. Lets `libvirtError` pass."""
    told = parse_capabilities(connection.getCapabilities(), origin=f"{spec} capabilities", limits=limits, source=spec)
    driver = connection.getType()
    hypervisor = _HYPERVISORS.get(driver)
    domains = _domains(libvirt, connection, hypervisor, limits)
    topology = told.topology
    return HostSnapshot(
        hostname=connection.getHostname(),
        sources=(spec,),
        taken_at=now,
        topology=topology,
        memory=_memory(libvirt, connection, told, driver),
        usable_cpus=topology.online_cpus,
        hypervisor=hypervisor,
        occupants=tuple(occupant_of(seen, topology, hypervisor, source=spec) for seen in domains),
        disagreements=tuple(d for seen in domains for d in disagreements_of(seen, topology)),
    )


def _memory(libvirt: Any, connection: Any, told: HostCapabilities, driver: str) -> tuple[NodeMemory, ...]:
    free_kib = _free_kib(connection, [int(n.node_id) for n in told.topology.nodes], driver)
    return tuple(
        replace(
            memory,
            free_kib=free_kib.get(memory.node_id),
            reclaimable_kib=0 if driver == "Xen" else None,
            hugepages=tuple(_pool(libvirt, connection, memory.node_id, pool) for pool in memory.hugepages),
        )
        for memory in told.memory
    )


def _free_kib(connection: Any, node_ids: list[int], driver: str) -> Mapping[int, int]:
    """Free memory by node; the answers are in the order of node ids, holes included."""
    free: dict[int, int] = {}
    for start in range(0, max(node_ids) + 1, _MAX_CELLS):
        count = min(_MAX_CELLS, max(node_ids) + 1 - start)
        if any(start <= node < start + count for node in node_ids):
            free.update(enumerate(connection.getCellsFreeMemory(start, count), start))
    per_kib = 1 if driver == "TEST" else 1024
    return {node: value // per_kib for node, value in free.items()}


def _pool(libvirt: Any, connection: Any, node_id: NodeId, pool: HugepagePool) -> HugepagePool:
    """The pool with its free pages; None where the driver cannot tell.

    The total is what the daemon read when it built its capabilities; free pages are read now, so a
    pool that was grown since then has at least those.
    """
    if pool.total == 0:
        return replace(pool, free=0)
    try:
        counts = connection.getFreePages([pool.size_kib], int(node_id), 1)
    except libvirt.libvirtError:
        return pool
    free = counts.get(int(node_id), {}).get(pool.size_kib)
    return pool if free is None else replace(pool, free=free, total=max(pool.total, free))


def _domains(libvirt: Any, connection: Any, hypervisor: Hypervisor | None, limits: ReadLimits) -> list[DomainSeen]:
    """Every domain, sorted by name; those that go away while we look are left out."""
    resident_kib = _resident_kib(libvirt, connection)
    seen = []
    for domain in connection.listAllDomains():
        try:
            found = _domain(libvirt, domain, resident_kib, limits)
            on_xen = hypervisor is Hypervisor.XEN and found.state is not OccupantState.SHUTOFF
            seen.append(replace(found, current_kib=domain.info()[2]) if on_xen else found)
        except libvirt.libvirtError as error:
            if error.get_error_code() != _NO_DOMAIN:
                raise
    return sorted(seen, key=lambda s: s.name)


def _domain(libvirt: Any, domain: Any, resident_kib: Mapping[str, int], limits: ReadLimits) -> DomainSeen:
    name, uuid, active = domain.name(), domain.UUIDString(), bool(domain.isActive())
    inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
    return DomainSeen.of(
        name=name,
        uuid=uuid,
        state=state_of(domain.state()[0], active=active),
        xml=domain.XMLDesc(0),
        next_xml=domain.XMLDesc(inactive) if active and domain.isPersistent() else None,
        effective_cpus=_effective_cpus(libvirt, domain) if active else None,
        resident_kib=resident_kib.get(uuid) if active else None,
        limits=limits,
    )


def _effective_cpus(libvirt: Any, domain: Any) -> CpuSet | None:
    """Union of the vCPUs' affinities as they are; None where the driver cannot tell."""
    try:
        return CpuSet.union(vcpu_affinities(libvirt, domain)) or None
    except libvirt.libvirtError as error:
        if error.get_error_code() == _NO_DOMAIN:
            raise
        return None


def _resident_kib(libvirt: Any, connection: Any) -> Mapping[str, int]:
    """Resident set of each active domain's process, by UUID; empty where the driver has none.

    One call for all, which waits for no guest: `memoryStats` would wait for a hung one.
    """
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    try:
        records = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BALLOON, flags)
    except libvirt.libvirtError:
        return {}
    return {domain.UUIDString(): stats["balloon.rss"] for domain, stats in records if "balloon.rss" in stats}


def advice_for(text: str) -> str:
    """What to do about a connection that failed with libvirt's message `text`."""
    lower = text.lower()
    for marks, advice in _ADVICE:
        if any(mark in lower for mark in marks):
            return advice
    return "Maybe `virsh -r -c URI list` says more."


_ADVICE = (
    (
        ("host key verification", "permission denied (", "publickey"),
        "Maybe try it by hand once: `ssh HOST true` must work without a password.",
    ),
    (
        ("permission denied", "authentication", "access denied", "polkit"),
        "Maybe this user may not: usermod -aG libvirt USER, then log in again.",
    ),
    (
        ("no such file", "failed to connect socket", "connection refused", "system bus"),
        "Maybe the daemon is not running: systemctl start libvirtd (or virtqemud, virtxend), "
        "or apt install libvirt-daemon-system.",
    ),
    (
        ("no connection driver", "unable to resolve", "name or service not known"),
        "Maybe the host's name is wrong, or libvirt there has no driver for it.",
    ),
)


def _within(limit_s: float, call: Callable[[], Result], *, origin: str) -> Result:
    """The result of `call`, or an error when it takes too long; its thread is then left behind."""
    from threading import Thread

    outcome: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            failure.append(error)

    thread = Thread(target=run, name=f"libvirt {origin}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if failure:
        raise failure[0]
    if not outcome:
        raise SourceUnreadableError(
            origin, f"no answer within {limit_s:g} s", advice="Maybe the daemon there hangs: restart it."
        )
    return outcome[0]
