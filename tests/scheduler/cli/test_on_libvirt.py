"""The commands on a real libvirtd with QEMU, beside guests that somebody else made."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probe.sources.registry import read_source
from tests.libvirtd import PREFIX
from tests.scheduler.cli.conftest import Run

pytestmark = pytest.mark.libvirt

HOSTS = "schema: 1\nhosts:\n  here:\n    sources: ['qemu:///system', 'sysfs:']\n    reserve: 64MiB\n"


@pytest.fixture
def strangers(libvirtd: str) -> Iterator[Callable[[str], None]]:
    """Start a paused guest of somebody else on a cpuset; it is gone afterwards."""
    import libvirt

    connection = libvirt.open(libvirtd)
    made: list[Any] = []

    def start(cpuset: str) -> None:
        xml = (
            f"<domain type='qemu'><name>{PREFIX}stranger-{len(made)}</name><memory unit='MiB'>64</memory>"
            f"<vcpu cpuset='{cpuset}'>1</vcpu><os><type>hvm</type></os></domain>"
        )
        made.append(connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED))

    yield start
    for domain in made:
        domain.destroy()
    connection.close()


def write_fleet(folder: Path, *guests: str) -> None:
    (folder / "hosts.yaml").write_text(HOSTS)
    (folder / "fleet.yaml").write_text("schema: 1\nguests:\n" + "".join(f"  - {guest}\n" for guest in guests))


def dedicated(name: str, vcpus: int) -> str:
    return f"{{name: {PREFIX}{name}, vcpus: {vcpus}, memory: 64MiB, overhead: 0MiB, cpus: dedicated}}"


def test_cpus_of_somebody_elses_guest_are_not_given_away(
    run: Run, tmp_path: Path, strangers: Callable[[str], None]
) -> None:
    """A stranger may run on the first CPU: a dedicated guest gets another; one that needs all gets none."""
    online = sorted(read_source("sysfs:").usable_cpus)
    if len(online) < 2:
        pytest.skip("needs two CPUs")
    write_fleet(tmp_path, dedicated("one", 1), dedicated("all", len(online)))
    strangers(str(online[0]))
    seen = run("probe", "--host", "here", "--output", "json").json
    assert (f"{PREFIX}stranger-0", str(online[0]), None) in [
        (o["guest"], o["effective_cpus"], o["claim"]) for o in seen["occupants"]
    ]
    one, everything = run("plan", "fleet.yaml", "--output", "json").json["decisions"]
    assert one["cells"][0]["cpus"] != str(online[0])
    assert everything["rejected"]["reason"] == "pcpus"


def test_a_stranger_that_may_run_anywhere_leaves_no_dedicated_cpu(
    run: Run, tmp_path: Path, strangers: Callable[[str], None]
) -> None:
    """Exclusive means of all guests, not only of ours."""
    online = read_source("sysfs:").usable_cpus
    write_fleet(tmp_path, dedicated("one", 1))
    strangers(str(online))
    (decision,) = run("plan", "fleet.yaml", "--output", "json").json["decisions"]
    assert decision["rejected"]["reason"] == "pcpus"


def test_a_fleet_lives_and_goes_on_a_real_hypervisor(run: Run, libvirtd: str, tmp_path: Path) -> None:
    """plan, apply, status, destroy: two guests really run where the plan says, and are gone without a trace."""
    import libvirt

    write_fleet(tmp_path, f"{{name: {PREFIX}web, count: 2, vcpus: 1, memory: 64MiB, overhead: 0MiB}}")
    names = [f"{PREFIX}web-1", f"{PREFIX}web-2"]
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    try:
        done = run("apply", "plan.json", "--share", "--output", "json")  # beside those of other test runs
        assert done.status == 0, done.out
        status = run("status", "--output", "json")
        assert status.status == 0, status.out
        assert [("running", True, 1.0)] * 2 == [
            (g["domain"], g["binding_ok"], g["on_plan_ratio"]) for g in status.json["guests"]
        ]
        with libvirt.openReadOnly(libvirtd) as connection:
            assert {*names} <= {domain.name() for domain in connection.listAllDomains()}
    finally:
        gone = run("destroy", *names)
    assert gone.status == 0, gone.out
    with libvirt.openReadOnly(libvirtd) as connection:
        assert not {*names} & {domain.name() for domain in connection.listAllDomains()}


@pytest.fixture
def defined(libvirtd: str) -> Iterator[Callable[[str, str], str]]:
    """Define a guest of somebody else and start it paused; its name. It is gone afterwards."""
    import libvirt

    connection = libvirt.open(libvirtd)
    made: list[Any] = []

    def define(name: str, inner: str) -> str:
        xml = (
            f"<domain type='qemu'><name>{PREFIX}{name}</name><memory unit='MiB'>64</memory>{inner}"
            "<metadata><their:own xmlns:their='urn:theirs'>kept</their:own></metadata>"
            "<os><type>hvm</type></os></domain>"
        )
        made.append(connection.defineXML(xml))
        made[-1].createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        return str(made[-1].name())

    yield define
    for domain in made:
        domain.destroy()
        domain.undefine()
    connection.close()


def dumped(guest: str, *words: str) -> str:
    return subprocess.run(
        ["virsh", "-c", "qemu:///system", "dumpxml", *words, guest], capture_output=True, text=True, check=True
    ).stdout


def without_mark(xml: str) -> str:
    return re.sub(r"\s*<numaplace:guest [^>]*/>", "", xml)


def test_a_real_guest_is_adopted_and_let_go(
    run: Run, tmp_path: Path, defined: Callable[[str, str], str], strangers: Callable[[str], None]
) -> None:
    """The mark is in its live and its persistent XML, then in neither; nothing else of it changes.

    A guest without a persistent configuration is adopted with a live mark alone.
    """
    online = sorted(read_source("sysfs:").usable_cpus)
    pin = f"<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='{online[0]}'/></cputune>"
    guest = defined("theirs", pin)
    write_fleet(tmp_path)
    before = {words: dumped(guest, *words) for words in ((), ("--inactive",))}
    done = run("adopt", guest, "--host", "here", "--output", "json")
    assert done.status == 0, done.out
    (row,) = done.json["guests"]
    assert ("", True, str(online[0])) == (
        row["note"],
        row["placement"]["dedicated"],
        row["placement"]["cells"][0]["cpus"],
    )
    (standing,) = run("status", "--output", "json").json["guests"]
    assert ("active", "paused", True) == (standing["state"], standing["domain"], standing["binding_ok"])
    for words, was in before.items():
        marked = dumped(guest, *words)
        assert f'claim="{standing["claim"]}"' in marked
        assert was == without_mark(marked)
        assert "<their:own" in marked
    strangers(str(online[-1]))
    transient = f"{PREFIX}stranger-0"
    assert run("adopt", transient).status == 0
    assert "<numaplace:guest" in dumped(transient)
    let_go = run("release", guest, transient)
    assert let_go.status == 0, let_go.out
    assert before == {words: dumped(guest, *words) for words in before}
    assert "<numaplace:guest" not in dumped(transient)


def test_a_dedicated_cpu_is_not_beside_an_adopted_guest(
    run: Run, tmp_path: Path, defined: Callable[[str, str], str]
) -> None:
    """Adopted on the first CPU: a dedicated guest gets another, and one that needs all gets none."""
    online = sorted(read_source("sysfs:").usable_cpus)
    if len(online) < 2:
        pytest.skip("needs two CPUs")
    write_fleet(tmp_path, dedicated("one", 1), dedicated("all", len(online)))
    guest = defined("theirs", f"<vcpu cpuset='{online[0]}'>1</vcpu>")
    assert run("adopt", guest, "--host", "here").status == 0
    one, everything = run("plan", "fleet.yaml", "--output", "json").json["decisions"]
    assert one["cells"][0]["cpus"] != str(online[0])
    assert everything["rejected"]["reason"] == "pcpus"
    assert run("release", guest).status == 0
