"""A Linux host from sysfs and procfs: this machine, a folder, or an archive of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from probe.cpuset import NodeId
from probe.errors import SourceUnreadableError
from probe.limits import ReadLimits
from probe.snapshot import HostSnapshot
from probe.sources.filetree import DirectoryTree, FileTree
from probe.sources.linux_cpus import read_cores, read_dies, read_groups, read_l3, read_packages, read_states
from probe.sources.linux_cpusets import read_usable
from probe.sources.linux_files import LIVE, HostFiles, find_layout
from probe.sources.linux_memory import read_access, read_memory, read_nodes, read_tiers
from probe.topology import HostTopology, PciDevice

_PCI = "sys/bus/pci/devices"
_NOTED_NAME = re.compile(r"^HostName: (\S+)", re.MULTILINE)
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)


def read_sysfs(rest: str, *, limits: ReadLimits, now: datetime, spec: str) -> HostSnapshot:
    """Read `sysfs:` (this machine), `sysfs:DIR`, `sysfs:FILE.tar.*` or `sysfs:FILE.tar.*#DIR`.

    Raises:
        SourceUnreadableError: there is no such file or folder.
        SourceMalformedError: it holds no recorded host, or files that are damaged.
        BadInputError: it holds several recorded hosts.
    """
    if not rest:
        return snapshot_of(HostFiles(DirectoryTree(root=Path("/"), limits=limits), LIVE), now=now, spec=spec)
    path, _, inside = rest.partition("#")
    tree = _tree(Path(path), limits)
    return snapshot_of(HostFiles(tree, find_layout(tree, inside)), now=now, spec=spec)


def _tree(path: Path, limits: ReadLimits) -> FileTree:
    if path.is_dir():
        return DirectoryTree(root=path, limits=limits)
    if not path.exists():
        raise SourceUnreadableError(str(path), "no such file or folder")
    from probe.sources.archive_tree import read_archive

    return read_archive(path, limits=limits)


def snapshot_of(files: HostFiles, *, now: datetime, spec: str) -> HostSnapshot:
    """The host whose files these are."""
    states = read_states(files)
    nodes = read_nodes(files, states.online)
    packages = read_packages(files, states.online)
    cores = read_cores(files, states.online, nodes, packages)
    topology = HostTopology(
        nodes=nodes,
        online_cpus=states.online,
        offline_cpus=states.offline,
        isolated_cpus=states.isolated,
        nohz_full_cpus=states.nohz_full,
        packages=packages,
        dies=read_dies(files, packages),
        groups=read_groups(files, states.online),
        l3=read_l3(files, cores),
        cores=cores,
        devices=tuple(_devices(files, {node.node_id for node in nodes})),
        memory_access=read_access(files, nodes),
        memory_tiers=read_tiers(files),
    )
    return HostSnapshot(
        hostname=_hostname(files),
        sources=(spec,),
        taken_at=now,
        topology=topology,
        memory=read_memory(files, nodes, spec),
        usable_cpus=read_usable(files, states.online),
    )


def _hostname(files: HostFiles) -> str:
    """The kernel's, or what hwloc-gather-topology wrote beside it."""
    noted = _NOTED_NAME.search(files.text("proc/hwloc-nofile-info") or "")
    return files.text("proc/sys/kernel/hostname") or (noted[1] if noted else "")


def _devices(files: HostFiles, nodes: set[NodeId]) -> Iterator[PciDevice]:
    for address in files.names(_PCI):
        if _ADDRESS.fullmatch(address):
            node = files.number(f"{_PCI}/{address}/numa_node")
            yield PciDevice(
                address=address,
                node_id=NodeId(node) if node is not None and node in nodes else None,
                class_code=files.text(f"{_PCI}/{address}/class") or None,
            )
