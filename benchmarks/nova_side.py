"""Run by a Python that has the package `nova`: OpenStack's own fit of one request over all hosts, timed.

Standard input: {cpus, gib} of a node, `load` [pCPUs taken, GiB taken] per host and node, and `sizes` of requests
[cells, vCPUs per cell, GiB per cell]. Standard output: {median_ms} of a request over all hosts. Nova's objects are
built outside the clock. Imports nothing of ours.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from nova import objects  # type: ignore[import-not-found,unused-ignore]
from nova.objects import fields  # type: ignore[import-not-found,unused-ignore]
from nova.virt import hardware  # type: ignore[import-not-found,unused-ignore]


def host_of(cpus: int, gib: int, cpus_taken: list[int], gib_taken: list[int]) -> Any:
    """A host as Nova's compute node tells it."""
    cells = []
    for node, (taken, memory) in enumerate(zip(cpus_taken, gib_taken, strict=True)):
        own = range(cpus * node, cpus * (node + 1))
        cells.append(
            objects.NUMACell(
                id=node,
                cpuset=set(),
                pcpuset=set(own),
                memory=gib * 1024,
                cpu_usage=taken,
                memory_usage=memory * 1024,
                pinned_cpus=set(own[:taken]),
                siblings=[{cpu} for cpu in own],
                mempages=[],
                socket=0,
                network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False),
            )
        )
    return objects.NUMATopology(cells=cells)


def request_of(cells: int, vcpus: int, gib: int) -> Any:
    """A guest as Nova's scheduler asks for it."""
    return objects.InstanceNUMATopology(
        cells=[
            objects.InstanceNUMACell(
                id=cell,
                cpuset=set(),
                pcpuset=set(range(cell * vcpus, (cell + 1) * vcpus)),
                memory=gib * 1024,
                pagesize=None,
                cpu_policy=fields.CPUAllocationPolicy.DEDICATED,
                cpu_thread_policy=None,
            )
            for cell in range(cells)
        ]
    )


def main() -> None:
    """Each size once over all hosts."""
    objects.register_all()
    asked = json.load(sys.stdin)
    hosts = [host_of(asked["cpus"], asked["gib"], *taken) for taken in zip(*asked["load"], strict=True)]
    took_ms = []
    for size in asked["sizes"]:
        request = request_of(*size)
        began = time.perf_counter()
        for host in hosts:
            hardware.numa_fit_instance_to_host(host, request, provider_mapping=None)
        took_ms.append((time.perf_counter() - began) * 1000)
    print(json.dumps({"median_ms": statistics.median(took_ms)}))


if __name__ == "__main__":
    main()
