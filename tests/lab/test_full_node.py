"""A node that fills up between the plan and the first touch: seen, told, planned again; nobody else is harmed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import Command, Result
from tests.lab.guests import KERNEL, KVM
from tests.lab.lab import Lab, LabHost
from tests.lab.memory import giving_back, taking
from tests.lab.where import kvm_guest, wait_until_touched, wait_until_touched_or_gone, xen_pages

HOSTS = ("h1", "xen")
PREALLOCATED = KVM.replace("<os>", "<memoryBacking><allocation mode='immediate'/></memoryBacking><os>", 1)

_TAKEN_ONCE_DEFINED = """\
mkfifo /tmp/never; exec 3<> /tmp/never
until [ -e /etc/libvirt/qemu/{guest}.xml ]; do read -t 0.02 -u 3; done
kill -STOP $(< /run/libvirtd.pid)
{take}
kill -CONT $(< /run/libvirtd.pid)
"""
"""libvirtd stands still from the definition until the memory is taken: the start comes after it for certain."""


@pytest.fixture
def command(lab: Lab, tmp_path: Path) -> Command:
    """`numaplace` in a folder of its own; h1 as it was saved (the Xen host is for the first test only)."""
    lab.restart("h1")
    command = Command(lab, tmp_path)
    command.write("guest.xml", KVM)
    command.write("preallocated.xml", PREALLOCATED)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2}, xen={"reserve": "64MiB", "overcommit": 2})
    return command


def planned(command: Command, *guests: dict[str, object]) -> dict[str, int]:
    """Guest to the node of its memory."""
    command.fleet(*guests)
    return {d["guest"]: d["cells"][0]["memory"][0]["node"] for d in command.plan()["decisions"]}


def rows(result: Result) -> dict[str, Any]:
    for guest in result.json["guests"]:
        print(
            guest["guest"],
            guest["state"],
            guest["exit_status"],
            guest["memory_guarantee"],
            guest["note"],
            guest["moves"],
        )
    return {guest["guest"]: guest for guest in result.json["guests"]}


def on(*hosts: str, mib: int, template: str = "guest.xml") -> dict[str, object]:
    own = {} if "xen" in hosts else {"template": template}
    return {"vcpus": 1, "memory": f"{mib}MiB", "hosts": list(hosts), "vars": {"kernel": KERNEL}, **own}


def kvm_nodes(host: LabHost, sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """Guest to the nodes that have any of its memory."""
    return {name: list(kvm_guest(host, name, cell_mib=[mib]).kib) for name, mib in sizes.items()}


def test_taken_before_the_last_look(lab: Lab, command: Command) -> None:
    """On both kinds of host: the one guest goes to another node, the others are where they were planned."""
    homes = planned(
        command,
        {"name": "big", **on("h1", mib=640)},
        {"name": "small", **on("h1", mib=128)},
        {"name": "xbig", **on("xen", mib=1024)},
        {"name": "xsmall", **on("xen", mib=128)},
    )
    kvm, xen = lab.hosts["h1"], lab.hosts["xen"]
    kvm.run(taking(kvm, homes["big"], leave_mib=400))
    pair = [str(2 * homes["xbig"] + n) for n in (0, 1)]
    hog = ['name="hog"', 'type="pvh"', f'kernel="{KERNEL}"', "vcpus=2", "memory=900", f"cpus={pair}"]
    xen.put("\n".join([*hog, ""]), "/tmp/hog.cfg")
    xen.run("xl create -p /tmp/hog.cfg")
    done = rows(command.apply())
    assert {"active"} == {row["state"] for row in done.values()}
    assert {"big": 1, "small": 0, "xbig": 1, "xsmall": 0} == {name: len(row["moves"]) for name, row in done.items()}
    wait_until_touched(kvm, ["big", "small"])
    seen = kvm_nodes(kvm, {"big": 640, "small": 128})
    assert [homes["small"]] == seen["small"]
    assert ([int(done["big"]["moves"][-1]["to_nodes"])], 1) == (seen["big"], len(seen["big"]))
    pages = xen_pages(xen)
    assert [homes["xsmall"]] == [node for node, count in pages["xsmall"].items() if count]
    assert [int(done["xbig"]["moves"][-1]["to_nodes"])] == [node for node, count in pages["xbig"].items() if count]


def test_taken_before_the_last_look_everywhere(lab: Lab, command: Command) -> None:
    """Refused with the amounts, exit status 3; the other guest is created. With the memory back it is, too."""
    planned(command, {"name": "big", **on("h1", mib=640)}, {"name": "small", **on("h1", mib=128)})
    host = lab.hosts["h1"]
    for node in range(4):
        host.run(taking(host, node, leave_mib=400))
    refused = command.apply()
    done = rows(refused)
    assert (3, "failed", "active") == (refused.status, done["big"]["state"], done["small"]["state"])
    assert "No place is left (memory)" in done["big"]["note"]
    for node in range(4):
        host.run(giving_back(node))
    assert 0 == command.apply().status


def test_taken_after_the_last_look(lab: Lab, command: Command) -> None:
    """Between definition and start; its memory is pre-allocated, so that the start fails, and it goes elsewhere."""
    homes = planned(
        command,
        {"name": "db", **on("h1", mib=640, template="preallocated.xml")},
        {"name": "small", **on("h1", mib=128)},
    )
    host = lab.hosts["h1"]
    take = taking(host, homes["db"], leave_mib=300)
    host.put(_TAKEN_ONCE_DEFINED.format(guest="db", take=take), "/tmp/take")
    host.run("(bash /tmp/take < /dev/null > /dev/null 2>&1 &)")
    done = rows(command.apply())
    assert ("active", "pre-allocated") == (done["db"]["state"], done["db"]["memory_guarantee"])
    (move,) = done["db"]["moves"]
    assert (str(homes["db"]), True) == (move["from_nodes"], move["to_nodes"] != move["from_nodes"])
    wait_until_touched(host, ["db", "small"])
    assert {"db": [int(move["to_nodes"])], "small": [homes["small"]]} == kvm_nodes(host, {"db": 640, "small": 128})


def test_taken_after_it_was_let_run(lab: Lab, command: Command) -> None:
    """What is accounted only can be lost so: status tells it, nobody elsewhere is harmed, nothing starts again."""
    homes = planned(command, {"name": "db", **on("h1", mib=640)}, {"name": "far", **on("h1", mib=128)})
    host = lab.hosts["h1"]
    killed = command.apply(NUMAPLACE_CRASH="start:after")
    assert killed.status in (137, -9)
    host.run(taking(host, homes["db"], leave_mib=200))
    rows(command.apply())
    alive = wait_until_touched_or_gone(host, ["db", "far"])
    told = {guest["guest"]: guest for guest in command.run("status", "--reconcile", "--output", "json").json["guests"]}
    print({name: (guest["state"], guest["problems"]) for name, guest in told.items()}, "alive:", alive)
    if homes["far"] != homes["db"]:
        assert "far" in alive
    assert "db" not in alive
    assert "lost" == told["db"]["state"] or told["db"]["problems"]
    assert 4 == command.apply().status
