"""Hard rules on pCPUs: who runs where, and that nobody else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from policies.capacity import HostCapacity
from policies.check_case import Case, Placed
from probe.cpuset import CpuSet


def dedication_is_as_asked(case: Case) -> Iterator[str]:
    """*Hard.* The vCPUs that want pCPUs of their own get them; others take none away."""
    for p in case.placed:
        if p.placement.dedicated_vcpus.ids != p.owners or (p.owners and not p.pinned):
            yield f"{p.request.name}: wants {p.request.cpus} pCPUs and does not get them"


def each_vcpu_is_pinned(case: Case) -> Iterator[str]:
    """*Hard.* Each vCPU of a cell has a set of pCPUs; the cell's set is their union."""
    for p in case.placed:
        for cell in p.cells if p.pinned else ():
            whole = set(cell.pins) == cell.vcpus.ids and all(cell.pins.values())
            if not whole or cell.cpus != CpuSet.union(cell.pins.values()):
                yield f"{p.request.name}: pins of cell {cell.cell} do not match its vCPUs and its pCPUs"


def a_dedicated_vcpu_owns_one_pcpu(case: Case) -> Iterator[str]:
    """*Hard.* One pCPU for each vCPU, never the same for two."""
    for p in case.placed:
        pins = p.own_pins
        if any(len(pin) != 1 for pin in pins) or len(CpuSet.union(pins)) != len(pins):
            yield f"{p.request.name}: vCPUs have no pCPU each: {[str(pin) for pin in pins]}"


def dedicated_pcpus_were_free(case: Case) -> Iterator[str]:
    """*Hard.* Free on one of the nodes that the cell says."""
    for p in case.placed:
        for cell in p.cells:
            nodes = [p.node(n) for n in cell.cpu_nodes or ()]
            free = CpuSet.union(n.free_cpus for n in nodes if n is not None)
            own = CpuSet.union(pin for vcpu, pin in cell.pins.items() if vcpu in p.placement.dedicated_vcpus.ids)
            if taken := own - free:
                yield f"{p.request.name}: pCPUs {taken} of {p.host.name} were not free"
        nodes = [p.node(n) for n in p.cpu_nodes]
        if taken := p.placement.booked_cpus - CpuSet.union(n.free_cpus for n in nodes if n is not None):
            yield f"{p.request.name}: booked pCPUs {taken} of {p.host.name} were not free"


def dedicated_pcpus_have_one_owner(case: Case) -> Iterator[str]:
    """*Hard.* No pCPU is dedicated to two guests."""
    owners: dict[tuple[str, int], str] = {}
    for p in case.placed:
        for cpu in sorted(p.own_cpus):
            other = owners.setdefault((p.host.name, cpu), p.request.name)
            if other != p.request.name:
                yield f"{p.request.name}: pCPU {cpu} of {p.host.name} belongs to {other}"


def vcpus_share_cores_as_asked(case: Case) -> Iterator[str]:
    """*Hard.* `isolate`: no two vCPUs on one core. `require`: on each node as few cores with SMT as hold them."""
    for p in case.placed:
        if p.placement.smt != p.request.smt:
            yield f"{p.request.name}: smt {p.placement.smt}, asked is {p.request.smt}"
        if p.request.smt == "prefer" or not p.pinned:
            continue
        of_cpu = {cpu: core.cpus for core in p.host.topology.cores for cpu in core.cpus}
        by_node: dict[int, list[CpuSet]] = {}
        for pin in p.own_pins:
            node = next((n.node_id for n in p.host.nodes if pin <= n.free_cpus), -1)
            by_node.setdefault(node, []).append(CpuSet.union(of_cpu.get(cpu, CpuSet()) for cpu in pin))
        for cores in by_node.values():
            used, threads = len(set(cores)), max(len(core) for core in cores)
            most = len(cores) if p.request.smt == "isolate" else (len(cores) + threads - 1) // max(threads, 1)
            least = 1 if p.request.smt == "isolate" else 2
            if used != most or threads < least:
                yield f"{p.request.name}: {len(cores)} vCPUs on {used} cores of {threads} threads ({p.request.smt})"


def booked_pcpus_are_those_asked_for(case: Case) -> Iterator[str]:
    """*Hard.* The idle siblings of its cores where they are to be whole, its emulator's own pCPU, and no other."""
    for p in case.placed:
        mine, booked = CpuSet.union(p.own_pins), CpuSet()
        if p.request.smt != "prefer" and p.pinned:
            of_guest = [core.cpus for core in p.host.topology.cores if not core.cpus.isdisjoint(mine)]
            booked = CpuSet.union(of_guest) - mine
        if p.request.emulator == "own":
            booked |= p.placement.emulator_cpus or CpuSet()
        if p.placement.booked_cpus != booked:
            yield f"{p.request.name}: books pCPUs '{p.placement.booked_cpus}' beside its own, asked are '{booked}'"


def nobody_else_runs_on_dedicated_pcpus(case: Case) -> Iterator[str]:
    """*Hard.* vCPUs that float stay off them, also off those of their own guest; unpinned ones would run anywhere."""
    owned = {name: _owned(case, name) | host.dedicated_cpus for name, host in case.hosts.items()}
    for p in case.placed:
        trespassed = owned[p.host.name]
        if p.pinned:
            trespassed = trespassed & CpuSet.union(pin for _, pin in p.floating_pins)
        if trespassed:
            yield f"{p.request.name}: may run on pCPUs {trespassed} of {p.host.name}, which are dedicated"


def shared_vcpus_float_on_shared_pcpus(case: Case) -> Iterator[str]:
    """*Hard.* On the shared pCPUs of the nodes that the cell says."""
    for p in case.placed:
        for cell in p.cells if p.pinned else ():
            nodes = [p.node(n) for n in cell.cpu_nodes or ()]
            shared = CpuSet.union(n.shared_cpus for n in nodes if n is not None)
            own = p.placement.dedicated_vcpus.ids
            if stray := CpuSet.union(pin for vcpu, pin in cell.pins.items() if vcpu not in own) - shared:
                yield f"{p.request.name}: pCPUs {stray} of {p.host.name} are not shared there"


def a_shared_vcpu_floats_on_one_node(case: Case) -> Iterator[str]:
    """*Hard.* The books count it there; its memory cannot follow it to another."""
    for p in case.placed:
        for vcpu, pin in p.floating_pins:
            if pin and not any(pin <= node.cpus for node in p.host.topology.nodes):
                yield f"{p.request.name}: vCPU {vcpu} floats on pCPUs {pin} of {p.host.name}, not of one node"


def shared_vcpus_are_within_overcommit(case: Case) -> Iterator[str]:
    """*Hard.* Per node: vCPUs ≤ overcommit × shared pCPUs that this plan leaves.

    A vCPU whose pCPUs lie on several nodes counts on each. A node on which the plan puts no
    shared vCPU is as it was.
    """
    for name, host in case.hosts.items():
        owned = _owned(case, name)
        added = _shared_vcpus(case, host)
        for node in host.nodes:
            vcpus, left = node.shared_vcpus + added[node.node_id], len(node.shared_cpus - owned)
            if added[node.node_id] and vcpus > host.overcommit * left:
                yield f"node {node.node_id} of {name}: {vcpus} shared vCPUs on {left} pCPUs × {host.overcommit}"


def no_guest_is_overcommitted_against_itself(case: Case) -> Iterator[str]:
    """*Hard.* On a node, a guest has no more vCPUs than pCPUs that they may float on."""
    for p in case.placed:
        for node in p.host.nodes:
            here = node.shared_cpus
            pins = [pin & here for _, pin in p.floating_pins if pin and not pin.isdisjoint(here)]
            if len(pins) > (pcpus := len(CpuSet.union(pins))):
                where = f"node {node.node_id} of {p.host.name}"
                yield f"{p.request.name}: {len(pins)} vCPUs float on {pcpus} pCPUs of {where}"


def unpinned_vcpus_are_within_overcommit(case: Case) -> Iterator[str]:
    """*Hard.* They count against what all nodes of the host together still have."""
    for name, host in case.hosts.items():
        loose = sum(p.request.vcpus for p in case.guests_of(name) if not p.pinned)
        added, owned, room = _shared_vcpus(case, host), _owned(case, name), 0
        for node in host.nodes:
            limit = int(host.overcommit * len(node.shared_cpus - owned))
            room += max(0, limit - node.shared_vcpus - added[node.node_id])
        if loose > room:
            yield f"{name}: {loose} unpinned vCPUs, and shared room for {room}"


def cpu_nodes_are_the_nodes_of_cpus(case: Case) -> Iterator[str]:
    """*Hard.* Each pCPU lies on one of them, each has one of the pCPUs (nodes may share pCPUs)."""
    for p in case.placed:
        for cell in p.cells if p.pinned else ():
            cpus = cell.cpus or CpuSet()
            known: dict[int, CpuSet] = {n.node_id: n.cpus for n in p.host.topology.nodes}
            sets = [known.get(n, CpuSet()) for n in cell.cpu_nodes or ()]
            if cpus - CpuSet.union(sets) or any(cpus.isdisjoint(of_node) for of_node in sets):
                yield f"{p.request.name}: pCPUs {cpus} of {p.host.name} are not those of nodes {cell.cpu_nodes}"


def emulator_threads_run_where_they_may(case: Case) -> Iterator[str]:
    """*Hard.* As asked: on the guest's pCPUs, housekeeping ones of its nodes, or one of its first cell's node alone.

    Where some of its vCPUs float, the guest's pCPUs are those on which they do.

    On the guest's or any housekeeping ones where nothing is asked; somewhere, if it is pinned.
    """
    for p in case.placed:
        emulator, asked = p.placement.emulator_cpus, p.request.emulator
        taken, first = p.placement.cpus or CpuSet(), p.cells[0].cpu_nodes if p.cells else None
        mine = CpuSet.union(pin for _, pin in p.floating_pins) or taken
        allowed = {
            "auto": mine | p.host.housekeeping_cpus,
            "guest": mine,
            "housekeeping": p.host.housekeeping_cpus & _cpus_of(p, p.cpu_nodes),
            "own": _cpus_of(p, first or ()) - taken,
        }[asked.value]
        if emulator is None:
            if asked != "auto":
                yield f"{p.request.name}: emulator threads are bound to nothing, asked is {asked}"
        elif not emulator or not emulator <= allowed or (asked == "own" and len(emulator) != 1):
            yield f"{p.request.name}: emulator threads on pCPUs '{emulator}', allowed are '{allowed}' ({asked})"


def _cpus_of(p: Placed, nodes: Iterable[int]) -> CpuSet:
    """All pCPUs of some nodes of its host."""
    wanted = set(nodes)
    return CpuSet.union(node.cpus for node in p.host.topology.nodes if node.node_id in wanted)


def _owned(case: Case, host_name: str) -> CpuSet:
    """pCPUs that this plan dedicates on a host."""
    return CpuSet.union(p.own_cpus for p in case.guests_of(host_name))


def _shared_vcpus(case: Case, host: HostCapacity) -> Counter[int]:
    """Shared vCPUs that this plan adds, per node of the host."""
    added: Counter[int] = Counter()
    for p in case.guests_of(host.name):
        for _, pin in p.floating_pins:
            added.update(n.node_id for n in host.nodes if not n.shared_cpus.isdisjoint(pin))
    return added
