"""What others fell into (peers.md, section 9): the peer's row shows it where there is one, and ours avoids it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, find, settings

from policies.asked import NearDevice
from policies.check import violations
from policies.fleet import Fleet
from policies.peers.numad import advice
from policies.peers.seen import SeenHost
from policies.plan import MemoryMode, Placement, Reason, Rejection
from policies.registry import BUILTIN
from policies.request import CpuPolicy
from probe import read_source
from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.snapshot import Hypervisor
from probe.topology import UNREACHABLE_DISTANCE, HostTopology, PciDevice
from scheduler.definitions.errors import DefinitionConflictError
from tests.conftest import ROOT
from tests.policies.hosts import GIB_KIB, host_of, topology_of
from tests.policies.test_peers import only, slit, uneven, where
from tests.policies.test_policies import ask
from tests.policies.tight import tight_batches
from tests.scheduler.definitions.made import KVM, XEN, XL, merged, placed, small
from tests.scheduler.definitions.test_render import definition_of
from tests.scheduler.ledger.made import placement as in_the_books
from tests.scheduler.test_verify import KIB, ratios, seen

DEDICATED = CpuPolicy.DEDICATED


def test_the_sum_of_free_memory_is_enough_and_no_split_is() -> None:
    """6 + 2 GiB: libxl takes it for two halves of 4 GiB, one of which is not there; ours refuses it."""
    host, request = uneven("h", [6, 2]), ask("a", 2, 8, max_nodes=2)
    taken = only("libxl", request, host)
    assert ["no_node_promises_more_memory_than_it_has"] == [
        v.rule for v in violations([taken], [request], Fleet.of([host]))
    ]
    for cells in (1, 2, "auto"):
        refused = only("solver", ask("a", 2, 8, max_nodes=2, cells=cells), host)
        assert isinstance(refused, Rejection)
        assert Reason.MEMORY is refused.reason


def test_overflow_comparing_kib_as_int() -> None:
    """3 TiB are more than half a TiB to us."""
    host = uneven("h", [3 * 1024, 512])
    assert [[1]] == where("libxl", [ask("a", 1)], host)
    assert [[0]] == where("worst-fit", [ask("a", 1)], host)


def test_equal_memory_split_with_uneven_vcpus() -> None:
    """The kubelet with KubeVirt has 3 + 1 vCPUs and half of the memory each; ours is in proportion."""
    host = host_of("h", cpus=4)
    taken = tuple(replace(n, free_cpus=CpuSet(frozenset(sorted(n.free_cpus.ids)[1:]))) for n in host.nodes)
    host = replace(host, nodes=taken)
    request = ask("a", 5, 10, cpus=DEDICATED, cells="auto")
    shares = []
    for policy in ("kubelet-best-effort", "solver"):
        decision = only(policy, request, host)
        assert isinstance(decision, Placement)
        shares.append([(len(c.vcpus), c.memory[0].kib // GIB_KIB) for c in decision.cells])
    assert [[(3, 5), (2, 5)], [(3, 6), (2, 4)]] == shares


def test_overlapping_node_groups_starve_each_other() -> None:
    """The kubelet ties two nodes together and rejects the small guest; ours places both, on common nodes."""
    host = uneven("h", [8, 8])
    requests = [ask("large", 6, 12, cpus=DEDICATED, max_nodes=2), ask("small", 1, 1, cpus=DEDICATED, max_nodes=2)]
    assert 1 == len(where("kubelet-restricted", requests, host))
    assert 2 == len(where("solver", requests, host))
    overlapping = [ask("a", 2, 12, max_nodes=2), ask("b", 2, 12, max_nodes=2)]
    assert [[0, 1], [1, 2]] == sorted(where("solver", overlapping, uneven("h", [6, 12, 6], distances=_a_line())))
    assert 1 == len(where("solver", overlapping, uneven("h", [6, 11, 6], distances=_a_line())))


def _a_line() -> dict[int, dict[int, int]]:
    return slit(3, {(0, 1): 20, (1, 2): 20, (0, 2): 255})


def test_the_cpuset_says_node_0_and_mems_say_node_1() -> None:
    """Ours are on the same nodes; the checker knows the other."""
    host, request = host_of("h"), ask("a", 2, 4)
    decision = only("solver", request, host)
    assert isinstance(decision, Placement)
    assert decision.cpu_nodes == decision.memory_nodes
    (cell,) = decision.cells
    (other,) = NodeSet.of(0, 1) - decision.memory_nodes
    moved = replace(decision, cells=(replace(cell, memory=(replace(cell.memory[0], node_id=other),)),))
    assert {"memory_is_local"} == {v.rule for v in violations([moved], [request], Fleet.of([host]))}


def test_the_placement_is_reused_from_an_old_config() -> None:
    """A template with pins is an error, and a host that changed is planned as it is now."""
    with pytest.raises(DefinitionConflictError):
        merged("<domain><name>g</name><vcpu cpuset='0'>2</vcpu></domain>")
    with pytest.raises(DefinitionConflictError):
        merged('name="g"\ncpus=["0","1"]\n', XL)
    assert [[[0]], [[1]]] == [where("solver", [ask("a", 1, 4)], uneven("h", gib)) for gib in ([8, 2], [2, 8])]


def test_a_distance_of_0xff_or_an_asymmetric_table() -> None:
    """No guest of ours spans nodes without a path; libxl does not look. The random hosts have both."""
    host = host_of("h", topology=topology_of(distances=slit(2, {(0, 1): UNREACHABLE_DISTANCE})))
    request = ask("a", 6, max_nodes=2)
    assert [[0, 1]] == where("libxl", [request], host)
    assert isinstance(only("solver", request, host), Rejection)
    quick = settings(database=None, max_examples=500, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    for wanted in (_has_no_path, _is_asymmetric):
        found = find(tight_batches(), lambda batch, w=wanted: any(w(h.topology) for h in batch[1]), settings=quick)
        assert found[1].hosts


def _pairs(topology: HostTopology) -> list[tuple[int, int]]:
    ids = [n.node_id for n in topology.nodes]
    return [(topology.distance(a, b), topology.distance(b, a)) for a in ids for b in ids]


def _has_no_path(topology: HostTopology) -> bool:
    return any(there >= UNREACHABLE_DISTANCE for there, _ in _pairs(topology))


def _is_asymmetric(topology: HostTopology) -> bool:
    return any(there != back for there, back in _pairs(topology))


def test_e_cores_detected_by_no_smt_sibling() -> None:
    """A server with SMT off has one kind of cores, and it has no name."""
    topology = read_source("synthetic:package:2 node:1 core:4 pu:1 memory:8GiB").topology
    assert {None} == {core.efficiency for core in topology.cores}


def test_strict_without_headroom() -> None:
    """Nova fills the node to the last page; ours keeps room for QEMU."""
    host, request = host_of("h", nodes=1, memory_gib=4), ask("a", 1, 4, overhead_kib=64 * 1024)
    assert isinstance(only("nova-pack", request, host), Placement)
    refused = only("solver", request, host)
    assert isinstance(refused, Rejection)
    assert Reason.MEMORY is refused.reason


def test_vcpupin_only() -> None:
    """`<vcpu cpuset>` and `<numatune>` are there beside it, because pins come after the start."""
    text = definition_of(placed(small()), KVM).text
    assert re.search(r"<vcpu [^>]*cpuset=", text)
    assert "<numatune>" in text


def test_numatune_on_xen() -> None:
    """It binds nothing there, so the pins do: one for each vCPU."""
    text = definition_of(placed(small(), hypervisor=Hypervisor.XEN), XEN).text
    assert "numatune" not in text
    assert 2 == text.count("<vcpupin")


def test_vnuma_on_libvirt_xen() -> None:
    """libvirt would put cell i on node i: several cells are neither written nor planned on Xen, not for xl either."""
    two = placed(small(cells=2), parts=2)
    for kind in (XEN, XL):
        with pytest.raises(DefinitionConflictError, match="one NUMA cell"):
            definition_of(two, kind)
    refused = only("solver", ask("a", 2, 4, cells=2), host_of("h", hypervisor=Hypervisor.XEN))
    assert isinstance(refused, Rejection)
    assert Reason.UNSUPPORTED is refused.reason


def test_the_size_of_node_0_is_used_for_every_node() -> None:
    """numad takes two nodes where the second alone holds the guest."""
    topology = topology_of(cpus=4, nodes=2, memory_gib=1)
    large = replace(topology.nodes[1], memory_total_kib=64 * GIB_KIB)
    host = host_of("h", topology=replace(topology, nodes=(topology.nodes[0], large)))
    assert [[0, 1]] == where("numad", [ask("a", 1, 4)], host)
    assert [[1]] == where("solver", [ask("a", 1, 4)], host)


def test_a_request_larger_than_the_host() -> None:
    """numad answers with all nodes, ours refuses."""
    host = host_of("h")
    assert [0, 1] == sorted(advice(999, 10**7, SeenHost(host)))
    assert isinstance(only("solver", ask("a", 999, 10**4, max_nodes=2), host), Rejection)


def test_live_nodeset_change_in_strict() -> None:
    """The plan says which guests can be moved while they run: one cell in 4 KiB pages, and no other."""
    host = host_of("h", pages_gib={2048: 8})
    modes = []
    for request in (ask("a", 2, 4), ask("a", 2, 4, cells=2), ask("a", 2, 4, page_kib=2048)):
        decision = only("solver", request, host)
        assert isinstance(decision, Placement)
        modes.append({cell.memory_mode for cell in decision.cells})
    assert [{MemoryMode.RESTRICTIVE}, {MemoryMode.STRICT}, {MemoryMode.STRICT}] == modes


def test_the_docs_say_what_the_code_does_not() -> None:
    """Each policy is told of, and Nova's default is the code's, not its guide's."""
    text = (ROOT / "policies/README.md").read_text(encoding="utf-8")
    assert [] == [name for name in BUILTIN if f"`{name}`" not in text]
    assert ["default" in BUILTIN[name][1] for name in ("nova-spread", "nova-pack")] == [True, False]


def test_pci_free_guests_are_pushed_to_the_node_without_devices_even_under_pack() -> None:
    """Nova sorts by devices last, so that this counts most. Ours packs it, and the guest with a device is near that."""
    host, nic = uneven("h", [4, 8]), PciDevice(address="0000:3b:00.0", node_id=NodeId(0), class_code="0x020000")
    host = replace(host, topology=replace(host.topology, devices=(nic,)))
    bare = replace(host, topology=replace(host.topology, devices=()))
    plain, near = ask("a", 1, 2), ask("b", 1, 2, devices=(NearDevice(address=nic.address),))
    assert [[0]] == where("nova-pack", [plain], bare)
    assert [[1]] == where("nova-pack", [plain], host)
    assert [[0]] == where("nova-spread", [near], host) == where("solver", [near], host)
    assert [[0]] == where("best-fit", [plain], host)


def test_numa_optimised_is_true_for_all_nodes_but_one() -> None:
    """Ours is local bytes ÷ all bytes: a guest that may run on both nodes has half."""
    planned = in_the_books("db", cpus="0-1", dedicated=True, gib=2)
    everywhere = seen({0: "0-7", 1: "0-7"}, {0: KIB, 1: KIB})
    assert 0.5 == ratios(planned, everywhere)[1]
