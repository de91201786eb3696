"""Somebody who takes memory of one node: into its pool of huge pages, at once, and back as fast."""

from __future__ import annotations

from tests.lab.lab import LabHost

_POOL = "/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages"


def taking(host: LabHost, node: int, *, leave_mib: int) -> str:
    """A command of this host that leaves a node so much free memory."""
    pool = _POOL.format(node=node)
    lines = host.run(f"cat {pool} /sys/devices/system/node/node{node}/meminfo").splitlines()
    (free,) = (int(line.split()[3]) // 1024 for line in lines if "MemFree" in line)
    return f"echo {int(lines[0]) + (free - leave_mib) // 2} > {pool}"


def giving_back(node: int) -> str:
    """A command that gives all of a node's pool back."""
    return f"echo 0 > {_POOL.format(node=node)}"
