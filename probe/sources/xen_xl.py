"""A Xen host through its own tool: `xl:` live, `xl+ssh://HOST`, `xl:FILE` (what `xl info -n` printed).

Dom0 ("Domain-0") is an occupant like any other. `xen_memory` says what is known of where memory is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from probe.cpuset import CpuSet
from probe.errors import BadInputError
from probe.limits import ReadLimits
from probe.mark import XL_DEFINITIONS, read_xl_mark
from probe.snapshot import (
    Cpupool,
    HostSnapshot,
    Hypervisor,
    NodeMemory,
    Occupant,
)
from probe.sources.commands import run_command
from probe.sources.files import read_text_file
from probe.sources.shell import ADMIN_PATH, HostShell, joined, split
from probe.sources.ssh import SshTarget, parse_ssh_target, ssh_argv
from probe.sources.xen_domains import (
    XlDomain,
    XlVcpu,
    parse_xl_cpupool_cpus,
    parse_xl_cpupool_list,
    parse_xl_list,
    parse_xl_vcpu_list,
    pool_of,
)
from probe.sources.xen_info import XenInfo, parse_xl_info
from probe.sources.xen_memory import xen_memory
from probe.topology import HostTopology

COMMANDS = ("xl info -n", "xl list -v -c", "xl vcpu-list", "xl cpupool-list", "xl cpupool-list -c")
"""What is asked of xl; fixed words."""

_MARKS = f'{{ grep -as "^# numaplace" -- /dev/null {XL_DEFINITIONS}/*.cfg; true; }}'
"""Our marks: each line comes with the name of its file. There is no folder where we have created nothing."""

REMOTE_COMMAND = ADMIN_PATH + joined((*COMMANDS, _MARKS))
"""All that is ever run there, in one connection."""

_MARKED_FILE = re.compile(rf"{XL_DEFINITIONS}/(?P<uuid>[0-9a-f-]{{36}})\.cfg:(?P<line>.*)", re.ASCII | re.DOTALL)

_MISSING = "Maybe this is no Xen host; for another one write xl+ssh://HOST."


@dataclass(frozen=True, slots=True, kw_only=True)
class XlTexts:
    """What the commands printed, in the order of `COMMANDS`, and our marks; all but the first may be absent."""

    info: str
    domains: str = ""
    vcpus: str = ""
    pools: str = ""
    pool_cpus: str = ""
    marks: str = ""


def parse_xl(texts: XlTexts, *, origin: str, now: datetime, spec: str) -> HostSnapshot:
    """A host as `xl` tells of it; from `xl info -n` alone without guests and cpupools.

    Raises:
        SourceMalformedError: a text is not what its command prints.
    """
    info = parse_xl_info(texts.info, origin=f"{origin} info -n")
    pools = _cpupools(texts, origin)
    topology = info.topology
    usable = CpuSet.union(pool.cpus for pool in pools) if pools else topology.online_cpus
    return HostSnapshot(
        hostname=info.hostname,
        sources=(spec,),
        taken_at=now,
        topology=topology,
        memory=_memory(info, spec),
        usable_cpus=usable & topology.online_cpus,
        hypervisor=Hypervisor.XEN,
        occupants=_occupants(texts, topology, {p.name: p.cpus for p in pools}, origin=origin, spec=spec),
        cpupools=pools,
    )


def read_xl(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read this Xen host (`xl:`), or a file (`xl:FILE`)."""
    if rest:
        return parse_xl(XlTexts(info=read_text_file(rest, limits=limits)), origin=rest, now=now, spec=spec)
    outputs = [run_command(command.split(), limits=limits, missing=_MISSING) for command in COMMANDS]
    outputs.append(run_command(["sh", "-c", _MARKS], limits=limits))
    return parse_xl(_texts(outputs), origin="xl", now=now, spec=spec)


def read_xl_ssh(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read another Xen host (`xl+ssh://[USER@]HOST[:PORT]`); nothing is installed there."""
    target = parse_ssh_target(rest, spec=spec)
    return parse_xl(_over_ssh(target, limits), origin=f"{target}: xl", now=now, spec=spec)


def parse_xl_shell(spec: str) -> HostShell:
    """Where `xl:` or `xl+ssh://…` runs xl. Raises `BadInputError` for anything else."""
    scheme, _, rest = spec.partition(":")
    if scheme == "xl+ssh":
        return HostShell(parse_ssh_target(rest, spec=spec))
    if spec != "xl:":
        raise BadInputError(f"{spec[:80]!r}: expected xl: or xl+ssh://[USER@]HOST[:PORT].")
    return HostShell()


def _over_ssh(target: SshTarget, limits: ReadLimits) -> XlTexts:
    output = run_command(ssh_argv(target, REMOTE_COMMAND), limits=limits)
    return split_remote(output, origin=str(target))


def split_remote(output: str, *, origin: str) -> XlTexts:
    """The output of `REMOTE_COMMAND`, cut into its texts. Raises `SourceMalformedError`."""
    return _texts(split(output, len(COMMANDS) + 1, origin=origin))


def _texts(outputs: Sequence[str]) -> XlTexts:
    info, domains, vcpus, pools, pool_cpus, marks = outputs
    return XlTexts(info=info, domains=domains, vcpus=vcpus, pools=pools, pool_cpus=pool_cpus, marks=marks)


def _memory(info: XenInfo, spec: str) -> tuple[NodeMemory, ...]:
    """Xen has no page cache and no pools: what is free is what there is."""
    return tuple(
        NodeMemory(
            node_id=node.node_id,
            total_kib=None,
            free_kib=info.free_kib.get(node.node_id),
            reclaimable_kib=0,
            source=spec,
        )
        for node in info.topology.nodes
    )


def _cpupools(texts: XlTexts, origin: str) -> tuple[Cpupool, ...]:
    if not texts.pool_cpus:
        return ()
    listed = parse_xl_cpupool_list(texts.pools, origin=f"{origin} cpupool-list") if texts.pools else ()
    known = {pool.name: pool for pool in listed}
    cpus = parse_xl_cpupool_cpus(texts.pool_cpus, origin=f"{origin} cpupool-list -c")
    return tuple(
        Cpupool(
            name=name,
            cpus=ids,
            scheduler=known[name].scheduler if name in known else None,
            domains=known[name].domains if name in known else None,
        )
        for name, ids in cpus.items()
    )


def _occupants(
    texts: XlTexts, topology: HostTopology, pools: Mapping[str, CpuSet], *, origin: str, spec: str
) -> tuple[Occupant, ...]:
    if not texts.domains:
        return ()
    by_domain: dict[int, list[XlVcpu]] = defaultdict(list)
    for vcpu in parse_xl_vcpu_list(texts.vcpus, origin=f"{origin} vcpu-list") if texts.vcpus else ():
        by_domain[vcpu.domain_id].append(vcpu)
    marks = _marks(texts.marks)
    occupants = []
    for domain in parse_xl_list(texts.domains, origin=f"{origin} list"):
        pool = pool_of(domain, pools)
        room = topology.online_cpus if pool is None else pool & topology.online_cpus
        occupant = _occupant(domain, by_domain[domain.domain_id], topology, room=room, spec=spec)
        ledger, claim = marks.get(domain.uuid or "", (None, None))
        occupants.append(replace(occupant, ledger=ledger, claim=claim))
    return tuple(occupants)


def _marks(text: str) -> Mapping[str, tuple[str | None, str | None]]:
    """Uuid to (ledger id, claim id) of the definitions that are ours."""
    lines = (match for line in text.split("\n") if (match := _MARKED_FILE.fullmatch(line)))
    return {match["uuid"]: read_xl_mark(match["line"] + "\n") for match in lines}


def _occupant(
    domain: XlDomain, vcpus: Sequence[XlVcpu], topology: HostTopology, *, room: CpuSet, spec: str
) -> Occupant:
    """`room`: the CPUs of its cpupool, which bound every affinity."""
    effective = CpuSet.union(room if v.hard is None else v.hard & room for v in vcpus) if vcpus else None
    return Occupant(
        guest=domain.name,
        uuid=domain.uuid,
        state=domain.state,
        vcpus=len(vcpus) or domain.vcpus,
        effective_cpus=effective,
        memory=(xen_memory(domain.memory_kib, effective, _soft(vcpus, room), topology),),
        source=spec,
    )


def _soft(vcpus: Sequence[XlVcpu], room: CpuSet) -> CpuSet:
    """The soft affinities that were set; "all" points nowhere."""
    return CpuSet.union(v.soft & room for v in vcpus if v.soft is not None)
