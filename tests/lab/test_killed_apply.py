"""`apply` killed before and after each step that changes a host, on a real KVM and a real Xen host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import Command
from tests.lab.guests import KERNEL, KVM
from tests.lab.lab import Lab

HOSTS = ("h1", "xen")
TEMPLATES = {"h1": {"template": "guest.xml"}, "xen": {}}


def states(result: Any) -> dict[str, str]:
    return {guest["guest"]: guest["state"] for guest in result.json["guests"]}


@pytest.mark.parametrize("step", ["define", "start", "resume"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", HOSTS)
def test_a_killed_apply_is_taken_up_again(lab: Lab, tmp_path: Path, name: str, step: str, when: str) -> None:
    """Nothing is lost, nothing started twice; a second reconciliation changes nothing."""
    lab.restart(name)
    command = Command(lab, tmp_path)
    command.write("guest.xml", KVM)
    command.hosts(**{name: {"reserve": "64MiB"}})
    size = {"vcpus": 1, "memory": "128MiB", "vars": {"kernel": KERNEL}}
    command.fleet({"name": "a", "count": 2, **size, **TEMPLATES[name]})
    command.plan()
    assert command.apply(NUMAPLACE_CRASH=f"{step}:{when}").status == 137
    first = command.run("status", "--reconcile", "--output", "json")
    second = command.run("status", "--reconcile", "--output", "json")
    assert states(first) == states(second)
    done = command.apply()
    assert (done.status, states(done)) == (0, {"a-1": "active", "a-2": "active"}), done.complaint
    listed = lab.hosts[name].run("virsh -q list --all --name").split()
    assert sorted(set(listed) - {"Domain-0"}) == ["a-1", "a-2"]
    assert command.run("destroy", "a-1", "a-2").status == 0
    listed = lab.hosts[name].run("virsh -q list --all --name").split()
    assert set(listed) <= {"Domain-0"}
