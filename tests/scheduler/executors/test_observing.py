"""A guest of a real libvirtd, seen on this machine and over a real ssh: the same."""

from __future__ import annotations

import time

import pytest

from probe.snapshot import OccupantState
from probe.sources.registry import read_source
from probe.sources.ssh import SshTarget, parse_ssh_target
from scheduler.executors.libvirt import LibvirtExecutor
from scheduler.executors.port import HostUnreachableError
from tests.scheduler.executors.test_libvirt import defined, planned
from tests.sshd import Sshd

pytestmark = [pytest.mark.libvirt, pytest.mark.xdist_group("libvirt")]


def test_here_and_over_ssh_the_same_is_seen(libvirtd: str, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, cell, nodes and page size; one look for several guests; libvirt alone says that it is less."""
    monkeypatch.setenv("PATH", str(sshd.bin), prepend=":")
    target = parse_ssh_target(sshd.target, spec="ssh:")
    here, there = LibvirtExecutor(libvirtd), LibvirtExecutor(libvirtd, ssh=target)
    placed = [planned(read_source(libvirtd), name) for name in ("seen-1", "seen-2")]
    definitions = [defined(placement, placement.guest) for placement in placed]
    try:
        for definition in definitions:
            here.define(definition)
            here.start_paused(definition.uuid)
        here.resume(definitions[0].uuid)
        uuids = [definition.uuid for definition in definitions]
        time.sleep(1)  # the firmware touches some memory
        seen = here.observe_all(uuids)
        assert set(uuids) == set(seen)
        for definition, placement in zip(definitions, placed, strict=True):
            local, remote = here.observe(definition.uuid), there.observe(definition.uuid)
            (cell,), (other,) = local.cells or (), remote.cells or ()
            assert (local.vcpu_cpus, local.emulator_cpus) == (remote.vcpu_cpus, remote.emulator_cpus)
            assert placement.memory_nodes.ids == cell.nodes_allowed == other.nodes_allowed
            assert "/proc" in local.how
            assert cell.page_kib <= {4}
        running = here.observe(uuids[0])
        assert sum((running.resident_kib or {}).values()) <= 64 * 1024
        found = here.find(uuids[1])
        assert found is not None
        assert found.state is OccupantState.PAUSED
    finally:
        for definition in definitions:
            here.destroy(definition.uuid)
            here.undefine(definition.uuid)
        here.close()
        there.close()


def test_a_host_that_lets_nobody_in_is_unreachable(libvirtd: str) -> None:
    """The guest is not judged by what was not seen."""
    executor = LibvirtExecutor(libvirtd, ssh=SshTarget(host="127.0.0.1", port=1))
    with pytest.raises(HostUnreachableError, match="ssh://"):
        executor.observe("00000000-0000-0000-0000-00000000dead")
    executor.close()
