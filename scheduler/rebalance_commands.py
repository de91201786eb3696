"""The commands that carry out a step of a rebalancing by hand, through virsh or xl, and what they mean for the books.

Nobody changes the claim of a guest that is there, so it leaves the books before and comes into them
again after, as adopted: by what it then has.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from policies.plan import MemoryMode, Placement
from policies.rebalance.question import Step, StepKind
from policies.request import HostName
from probe.snapshot import Hypervisor
from probe.sources.xen_xl import parse_xl_shell
from scheduler.files.hosts_file import HostConfig


def commands_of(step: Step, configs: Mapping[HostName, HostConfig], hypervisor: Hypervisor | None) -> tuple[str, ...]:
    """In this order, with what is to be known as comments of a shell.

    Empty where a host takes no commands from outside: a recording, or the embedded hypervisor.
    """
    origin, target = configs[step.origin.host], configs[step.target.host]
    if {origin.executor, target.executor} - {"libvirt", "xl"} or origin.executor != target.executor:
        return ()
    name = shlex.quote(step.origin.guest)
    by_libvirt, moves = origin.executor == "libvirt", step.kind is StepKind.MIGRATE
    bound = [*_pins(step.target, target, hypervisor)] if by_libvirt else [*_xl_pins(step.target, target)]
    if moves:
        bound = [*(_virsh_migration if by_libvirt else _xl_migration)(step, origin, target), *bound]
    elif step.kind is StepKind.MOVE_MEMORY:
        for_good = " --config" if step.origin.cells[0].memory_mode is MemoryMode.RESTRICTIVE else ""
        bound.append(f"{_virsh(target)} numatune {name} --nodeset {step.target.memory_nodes} --live{for_good}")
    return f"numaplace release {name}", *bound, f"numaplace adopt {name}"


def _virsh(config: HostConfig) -> str:
    return f"virsh -c {shlex.quote(config.connect or '')}"


def _xl(config: HostConfig) -> str:
    target = parse_xl_shell(config.connect or "xl:").target
    port = "" if target is None or target.port is None else f"-p {target.port} "
    return "xl" if target is None else f"ssh {port}{shlex.quote(str(target))} xl"


def _pins(placement: Placement, config: HostConfig, hypervisor: Hypervisor | None) -> Iterator[str]:
    virsh, name = _virsh(config), shlex.quote(placement.guest)
    for vcpu, cpus in _by_vcpu(placement):
        yield f"{virsh} vcpupin {name} {vcpu} {cpus} --live --config"
    if placement.emulator_cpus is not None and hypervisor is not Hypervisor.XEN:
        yield f"{virsh} emulatorpin {name} {placement.emulator_cpus} --live --config"


def _xl_pins(placement: Placement, config: HostConfig) -> Iterator[str]:
    for vcpu, cpus in _by_vcpu(placement):
        yield f"{_xl(config)} vcpu-pin {shlex.quote(placement.guest)} {vcpu} {cpus}"


def _by_vcpu(placement: Placement) -> list[tuple[int, str]]:
    return sorted((vcpu, str(cpus)) for cell in placement.cells for vcpu, cpus in cell.pins.items())


def _virsh_migration(step: Step, origin: HostConfig, target: HostConfig) -> Iterator[str]:
    name, file = shlex.quote(step.origin.guest), shlex.quote(f"{step.origin.guest}.xml")
    pins = ", ".join(f"{vcpu} on {cpus}" for vcpu, cpus in _by_vcpu(step.target))
    yield f"{_virsh(origin)} dumpxml {name} --migratable --security-info > {file}"
    yield f"# edit {file}: in <cputune> vCPU {pins}; in <numatune> {_memory(step.target)}"
    way = f"--live --persistent --undefinesource --xml {file} --persistent-xml {file}"
    yield f"{_virsh(origin)} migrate {name} {shlex.quote(target.connect or '')} {way}"


def _xl_migration(step: Step, origin: HostConfig, target: HostConfig) -> Iterator[str]:
    name, file = shlex.quote(step.origin.guest), shlex.quote(f"{step.origin.guest}.cfg")
    pins = ", ".join(f'"{cpus}"' for _, cpus in _by_vcpu(step.target))
    shell = parse_xl_shell(target.connect or "xl:").target
    yield f"# write {file}, its xl.cfg, with cpus = [{pins}]: memory follows them while it is created there"
    yield f"{_xl(origin)} migrate -C {file} {name} {shlex.quote(str(shell or step.target.host))}"


def _memory(placement: Placement) -> str:
    """ "cell 0 on node 1"; of a guest without cells "all memory on node 1"."""
    if len(placement.cells) == 1:
        return f"all memory on {placement.memory_nodes}"
    return ", ".join(f"cell {cell.cell} on {cell.memory_nodes}" for cell in placement.cells)
