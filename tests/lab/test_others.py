"""A fleet beside guests that are not ours, on a real KVM host: some adopted, some left alone."""

from __future__ import annotations

from typing import Any

import pytest

from probe.cpuset import CpuSet
from tests.lab.command import Command
from tests.lab.guests import KVM
from tests.lab.lab import Lab
from tests.lab.where import KvmGuest, kvm_guest, wait_until_touched

HOSTS = ("h1",)
FLEET: tuple[dict[str, Any], ...] = (
    {"name": "own", "count": 2, "vcpus": 1, "memory": "192MiB", "cpus": "dedicated"},
    {"name": "web", "count": 3, "vcpus": 1, "memory": "192MiB"},
)
THEIRS = {"foreign": 0, "adopted": 2}
"""Guests of somebody else, each with one vCPU and all its threads on this pCPU, memory strictly on its node."""


def theirs(name: str, cpu: int) -> str:
    """A domain as an operator writes it by hand."""
    placed = (
        f"<memory unit='MiB'>192</memory><vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='{cpu}'/>"
        f"<emulatorpin cpuset='{cpu}'/></cputune><numatune><memory mode='strict' nodeset='{cpu // 2}'/></numatune>"
    )
    return KVM.replace("{name}", name).replace("<os>", f"{placed}<os>", 1)


@pytest.fixture(scope="module")
def command(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Command:
    command = Command(lab, tmp_path_factory.mktemp("others"))
    command.write("guest.xml", KVM)
    command.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    command.fleet(*FLEET, template="guest.xml")
    host = lab.hosts["h1"]
    for name, cpu in THEIRS.items():
        host.put(theirs(name, cpu), f"/tmp/{name}.xml")
        host.run(f"virsh -q define /tmp/{name}.xml; virsh -q start {name}")
    wait_until_touched(host, list(THEIRS))
    return command


def seen(command: Command, name: str) -> KvmGuest:
    return kvm_guest(command.lab.hosts["h1"], name, cell_mib=[192])


def bound(command: Command, name: str) -> tuple[object, ...]:
    """Where its threads may run and its memory is: what nobody may change of a guest that is not ours."""
    guest = seen(command, name)
    return guest.vcpus, guest.others, guest.kib


def marks(command: Command, name: str) -> str:
    return command.lab.hosts["h1"].run(f"virsh metadata {name} https://numaplace.dev/xmlns/domain/1 2>&1 || true")


def test_a_fleet_beside_them_shares_nobodys_cpus_against_the_plan(command: Command) -> None:
    """Adopted, it owns its pCPU; the foreign one is left alone, and no dedicated guest is on its pCPU."""
    before = {name: bound(command, name) for name in THEIRS}
    adopted = command.run("adopt", "adopted", "--output", "json")
    assert adopted.status == 0, adopted.complaint
    (row,) = adopted.json["guests"]
    assert [cell["cpus"] for cell in row["placement"]["cells"]] == ["2"]
    plan = command.plan()
    applied = command.apply()
    assert applied.status == 0, applied.complaint
    wait_until_touched(command.lab.hosts["h1"], [decision["guest"] for decision in plan["decisions"]])
    used = {decision["guest"]: CpuSet.union(seen(command, decision["guest"]).vcpus) for decision in plan["decisions"]}
    print("adopted: 2, foreign: 0,", ", ".join(f"{guest}: {cpus}" for guest, cpus in used.items()))
    for guest, cpus in used.items():
        others = [c for name, c in used.items() if name != guest]
        assert 2 not in cpus  # the adopted guest's own
        if guest.startswith("own"):
            assert cpus.isdisjoint(CpuSet.union([CpuSet.of(0), *others]))
    assert before == {name: bound(command, name) for name in THEIRS}


def test_the_books_and_the_marks_tell_whose_is_whose(command: Command) -> None:
    """status knows the adopted guest; only it bears our mark; let go, it bears none and runs on."""
    guests = {g["guest"]: g for g in command.run("status", "--output", "json").json["guests"]}
    assert (guests["adopted"]["adopted"], guests["adopted"]["state"]) == (True, "active")
    assert "foreign" not in guests
    assert (True, False) == ("ledger=" in marks(command, "adopted"), "ledger=" in marks(command, "foreign"))
    before = bound(command, "adopted")
    assert command.run("release", "adopted").status == 0
    assert "ledger=" not in marks(command, "adopted")
    assert before == bound(command, "adopted")


def test_another_ledgers_host_is_left_alone(command: Command) -> None:
    """Other books see our marks: apply creates nothing there, unless told to share."""
    other = Command(command.lab, command.folder / "other")
    other.folder.mkdir()
    other.write("guest.xml", KVM)
    other.hosts(h1={"reserve": "64MiB", "overcommit": 2})
    other.fleet({"name": "late", "vcpus": 1, "memory": "128MiB"}, template="guest.xml")
    other.plan()
    refused = other.apply()
    assert (5, True) == (refused.status, "--share" in refused.out + refused.complaint)
    shared = other.apply("--share")
    assert shared.status == 0, shared.out
    assert other.run("destroy", "late").status == 0
