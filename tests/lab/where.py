"""Where a guest's threads and pages are, asked of the lab's host directly: none of the product's observers is used."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe.cpuset import CpuSet
from tests.lab.debian import LabError
from tests.lab.lab import LabHost

_KVM = """\
pid=$(cat /run/libvirt/qemu/{name}.pid)
for task in /proc/$pid/task/*; do
    echo "$(cat $task/comm)|$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' $task/status)"
done
echo
cat /proc/$pid/numa_maps
"""

_TOUCHED = """\
running=" $(virsh -q list --name --state-running | tr '\\n' ' ') "
for name in {names}; do
    case $running in *" $name "*) grep -qs TOUCHED /tmp/$name.log && echo $name touched ;; *) echo $name gone ;; esac
done
true
"""


@dataclass(frozen=True, slots=True)
class KvmGuest:
    """A QEMU process: the CPUs that each of its threads may use, and KiB per node of each of its big mappings."""

    threads: Sequence[tuple[str, CpuSet]]
    ram_kib: Sequence[Mapping[int, int]]

    @property
    def vcpus(self) -> list[CpuSet]:
        """In the vCPUs' order: "CPU 0/TCG", "CPU 1/TCG", …"""
        found = {int(m[1]): cpus for name, cpus in self.threads if (m := re.match(r"CPU (\d+)/", name))}
        return [found[vcpu] for vcpu in sorted(found)]

    @property
    def others(self) -> set[CpuSet]:
        return {cpus for name, cpus in self.threads if not name.startswith("CPU ")}

    @property
    def kib(self) -> dict[int, int]:
        """KiB of guest memory per node."""
        nodes = {node for mapping in self.ram_kib for node in mapping}
        return {node: sum(mapping.get(node, 0) for mapping in self.ram_kib) for node in sorted(nodes)}


def kvm_guest(host: LabHost, name: str, *, cell_mib: Sequence[int]) -> KvmGuest:
    """Look at a guest with cells of these sizes: its RAM are the mappings with the most pages."""
    threads, _, maps = host.run(_KVM.format(name=name)).partition("\n\n")
    mappings = [_kib_per_node(line) for line in maps.splitlines()]
    ram = sorted(mappings, key=lambda kib: sum(kib.values()), reverse=True)[: len(cell_mib)]
    told = (line.rpartition("|") for line in threads.splitlines())
    return KvmGuest([(name, CpuSet.parse(cpus)) for name, _, cpus in told], ram)


def _kib_per_node(line: str) -> dict[int, int]:
    """One line of numa_maps (proc(5)): `… N0=512 N3=1 kernelpagesize_kB=4`."""
    page_kib = int((re.search(r"kernelpagesize_kB=(\d+)", line) or ["", "4"])[1])
    return {int(node): int(pages) * page_kib for node, pages in re.findall(r" N(\d+)=(\d+)", line)}


def wait_until_touched(host: LabHost, names: Sequence[str]) -> None:
    """Until each guest has written to all of its memory, and said so in /tmp/NAME.log."""
    touched = wait_until_touched_or_gone(host, names)
    if len(touched) < len(names):
        raise LabError(f"some do not run any more: {', '.join(sorted({*names} - {*touched}))}")


def wait_until_touched_or_gone(host: LabHost, names: Sequence[str], *, patience_s: float = 300) -> list[str]:
    """The guests that run and have touched all of their memory, once each has or does not run."""
    script = _TOUCHED.format(names=" ".join(names))
    began = time.monotonic()
    while len(told := host.run(script).splitlines()) < len(names):
        if time.monotonic() - began > patience_s:
            raise LabError(f"not all of {', '.join(names)} touched their memory: {told}")
        time.sleep(1)
    return [name for name in names if f"{name} touched" in told]


def xen_pages(host: LabHost) -> dict[str, dict[int, int]]:
    """Pages of each domain per node, by name, as the hypervisor itself counts them."""
    text = host.run("xl debug-keys u; sleep 1; xl dmesg")
    last = text[text.rindex("Memory location of each domain") :]
    counted = {
        int(domain): {int(node): int(pages) for node, pages in re.findall(r"Node (\d+): (\d+)", block)}
        for domain, block in re.findall(r"Domain (\d+) \(total: \d+\):((?:\n.*Node \d+: \d+)*)", last)
    }
    names = {int(line.split()[1]): line.split()[0] for line in host.run("xl list").splitlines()[1:]}
    return {names[domain]: pages for domain, pages in counted.items() if domain in names}
