"""Small hosts of the embedded hypervisor, and definitions in the forms that people write."""

from __future__ import annotations

from pathlib import Path

from probe.snapshot import Hypervisor
from probe.sources.registry import read_source
from scheduler.sim.hypervisor import SimHypervisor

MIB = 1024
HOST = "synthetic:node:4 core:2 memory:1GiB hugepages:2MiB=64 distance:10,20"
"""Node n has CPUs 2n and 2n+1, and 1 GiB, of which 128 MiB in 64 pages of 2 MiB."""


def make(path: Path, flavour: Hypervisor, source: str = HOST) -> SimHypervisor:
    return SimHypervisor.create(path, read_source(source), flavour, name="s")


def domain_xml(name: str = "g", *, inner: str = "", mib: int = 256, vcpus: int = 2, kind: str = "qemu") -> str:
    vcpu = "" if "<vcpu" in inner.replace("<vcpupin", "") else f"<vcpu>{vcpus}</vcpu>"
    return f"<domain type='{kind}'><name>{name}</name><memory unit='MiB'>{mib}</memory>{vcpu}{inner}</domain>"


def pins(*cpus: str) -> str:
    return "<cputune>" + "".join(f"<vcpupin vcpu='{i}' cpuset='{c}'/>" for i, c in enumerate(cpus)) + "</cputune>"


def numatune(mode: str, nodes: str) -> str:
    return f"<numatune><memory mode='{mode}' nodeset='{nodes}'/></numatune>"


def xl_cfg(name: str = "g", *, more: str = "", mib: int = 256) -> str:
    return f'name="{name}"\ntype="pvh"\nmemory={mib}\nvcpus=2\n{more}\n'


def started(sim: SimHypervisor, text: str) -> str:
    """Defined and started paused; its uuid."""
    uuid = sim.define(text)
    sim.start(uuid)
    return uuid


def pages_of(sim: SimHypervisor, uuid: str) -> dict[int, int]:
    """Node id to resident MiB."""
    domain = sim.find(uuid)
    assert domain is not None
    return {node: kib // MIB for node, kib in domain.resident_kib.items()}


def pages_when_full(sim: SimHypervisor, text: str) -> dict[int, int]:
    """Node id to MiB once the guest has touched all its memory."""
    uuid = started(sim, text)
    sim.resume(uuid)
    sim.touch(uuid, 2**40)
    return pages_of(sim, uuid)
