"""What carries out a step by hand."""

from __future__ import annotations

import shlex
from dataclasses import replace

from policies.plan import Placement
from policies.rebalance.question import Step, StepKind
from policies.request import CpuPolicy, HostName
from probe.snapshot import Hypervisor
from scheduler.files.hosts_file import HostConfig
from scheduler.rebalance_commands import commands_of
from tests.policies.standing import guest
from tests.policies.test_rebalance_cases import hosts, stands


def config(name: str, executor: str | None, connect: str) -> HostConfig:
    return HostConfig(name=HostName(name), sources=(connect,), executor=executor, connect=connect)


def placed(host: str, node: int, kind: Hypervisor = Hypervisor.KVM) -> Placement:
    (one,) = (replace(each, hypervisor=kind) for each in hosts(host))
    return stands(guest("web", 2, 2, cpus=CpuPolicy.DEDICATED), one, node).placement


def told(kind: StepKind, origin: Placement, target: Placement, *configs: HostConfig) -> tuple[str, ...]:
    step = Step(kind=kind, origin=origin, target=target, kib=2 * 1024**2)
    xen = configs[0].executor == "xl"
    return commands_of(step, {each.name: each for each in configs}, Hypervisor.XEN if xen else Hypervisor.KVM)


def test_memory_is_moved_after_the_threads() -> None:
    """As `repair` does it: the pins of each vCPU and of the emulator, then the nodes of the memory."""
    lines = told(StepKind.MOVE_MEMORY, placed("h1", 0), placed("h1", 1), config("h1", "libvirt", "qemu:///system"))
    assert lines == (
        "numaplace release web",
        "virsh -c qemu:///system vcpupin web 0 4 --live --config",
        "virsh -c qemu:///system vcpupin web 1 5 --live --config",
        "virsh -c qemu:///system emulatorpin web 4-5 --live --config",
        "virsh -c qemu:///system numatune web --nodeset 1 --live --config",
        "numaplace adopt web",
    )


def test_a_guest_is_migrated_with_the_pins_of_its_new_host() -> None:
    """Between the two URIs; the file says where its vCPUs and its memory come."""
    uris = "qemu+ssh://root@h1/system", "qemu+ssh://root@h2/system"
    two = [config(name, "libvirt", uri) for name, uri in zip(("h1", "h2"), uris, strict=True)]
    lines = told(StepKind.MIGRATE, placed("h1", 0), placed("h2", 1), *two)
    assert "# edit web.xml: in <cputune> vCPU 0 on 4, 1 on 5; in <numatune> all memory on 1" in lines
    (moved,) = [line for line in lines if " migrate " in line]
    assert ["virsh", "-c", uris[0], "migrate", "web", uris[1]] == shlex.split(moved)[:6]
    assert all(uris[1] in line for line in lines if "pin web" in line)


def test_xl_pins_on_the_host_where_it_runs() -> None:
    """Over ssh, as numaplace itself asks it."""
    there = [placed("h1", node, Hypervisor.XEN) for node in (0, 1)]
    lines = told(StepKind.RE_PIN, *there, config("h1", "xl", "xl+ssh://root@h1:2222"))
    assert lines[1:-1] == tuple(f"ssh -p 2222 root@h1 xl vcpu-pin web {v} {cpu}" for v, cpu in ((0, 4), (1, 5)))


def test_a_host_that_takes_no_commands_is_told_none() -> None:
    for executor in ("sim", None):
        assert () == told(StepKind.RE_PIN, placed("h1", 0), placed("h1", 0), config("h1", executor, "h1.sim"))
