"""A Xen host whose guests libvirt creates and whose pages Xen counts: who is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from probe.cpuset import CpuSet
from probe.sources.shell import HostShell
from scheduler.executors import libvirt as module
from scheduler.executors.libvirt import LibvirtExecutor
from scheduler.executors.port import Observation
from scheduler.files.hosts_file import HostEntry, host_config
from scheduler.sites import open_executor


def seen(how: str, kib: Mapping[int, int] | None = None) -> Observation:
    return Observation(
        vcpu_cpus={0: CpuSet.of(0)}, emulator_cpus=None, memory_nodes_allowed=None, resident_kib=kib, how=how
    )


@pytest.mark.parametrize(
    ("sources", "xl"),
    [
        (["xen:///system", "xl:"], "xl:"),
        (["xen+ssh://root@x/system", "xl+ssh://root@x"], "xl+ssh://root@x"),
        (["xen:///system"], None),
    ],
)
def test_the_source_for_xl_is_handed_on(monkeypatch: pytest.MonkeyPatch, sources: list[str], xl: str | None) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(module, "LibvirtExecutor", lambda uri, **more: given.update(uri=uri, **more))
    config = host_config("x", HostEntry(sources=sources), folder=Path())
    open_executor(config)
    assert (sources[0], xl) == (given["uri"], config.xl)
    assert (given["xl"] is None) == (xl is None)


def test_xen_is_asked_once_for_all_and_libvirt_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """With pages only where they are asked for: a dump holds all CPUs up."""
    asked: list[bool] = []

    def observe_host(shell: HostShell, *, memory: bool) -> Mapping[str, Observation]:
        asked.append(memory)
        return {"a": seen("xl", {2: 1024} if memory else None), "stranger": seen("xl")}

    monkeypatch.setattr(module, "observe_host", observe_host)
    monkeypatch.setattr(LibvirtExecutor, "_by_libvirt", lambda self, uuid: seen(f"libvirt {uuid}"))
    executor = object.__new__(LibvirtExecutor)
    executor._observer, executor._xl = None, HostShell()
    found = executor.observe_all(["a", "b"])
    assert {"a": "xl", "b": "libvirt b"} == {
        uuid: each.how for uuid, each in found.items() if isinstance(each, Observation)
    }
    assert {2: 1024} == dict(executor.observe("a").resident_kib or {})
    executor.observe_all(["a"], memory=False)
    assert [True, True, False] == asked
    assert {} == executor.observe_all([])
    assert 3 == len(asked)
