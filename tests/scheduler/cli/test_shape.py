"""The shape of a guest from the fleet file to the books: a guest that is there is not asked for in another one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.scheduler.cli.conftest import Run

WIDE = "{name: wide, cells: [{vcpus: 3, memory: 512MiB}, {vcpus: 1, memory: 256MiB}]}"
OWN = "{name: own, vcpus: 1, memory: 128MiB, cpus: dedicated, emulator: own, smt: isolate}"
HUGE = "{name: huge, vcpus: 1, memory: 128MiB, page_size: largest}"
MIXED = '{name: mixed, vcpus: 3, memory: 128MiB, cpus: mixed, dedicated_vcpus: "1", emulator: guest}'
ONE = "{name: one, vcpus: 1, memory: 128MiB, memory_mode: strict}"


def write(folder: Path, *guests: str) -> None:
    (folder / "fleet.yaml").write_text("guests:\n" + "".join(f"  - {guest}\n" for guest in guests))


@pytest.fixture
def there(run: Run, tmp_path: Path) -> Path:
    """Guests of uneven cells, bound strictly, in the largest pages, with an own core and pCPU, and mixed."""
    shape = "synthetic:node:2 core:8 memory:4GiB hugepages:2MiB=64"
    assert run("sim", "create", "h1.sim", "--from", shape, "--name", "h1").status == 0
    (tmp_path / "hosts.yaml").write_text("hosts: {h1: {sources: ['sim:h1.sim']}}\n")
    write(tmp_path, WIDE, ONE, HUGE, OWN, MIXED)
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    return tmp_path


def test_who_is_asked_for_as_it_is_stays(run: Run, there: Path) -> None:
    """Also where its mode, its cells and its page size are left to us now, or it came to be in 2 MiB pages."""
    assert "in 2MiB pages" in run("plan", "fleet.yaml").out
    write(there, WIDE, ONE, HUGE.replace("largest", "2MiB"), OWN, MIXED)
    assert run("plan", "fleet.yaml").status == 0
    write(there, "{name: wide, vcpus: 4, memory: 768MiB, cells: 2}", "{name: one, vcpus: 1, memory: 128MiB}")
    assert run("plan", "fleet.yaml").status == 0


def test_which_pcpus_of_a_mixed_guest_are_its_own_is_shown(run: Run, there: Path) -> None:
    """Beside those on which its other vCPUs float."""
    (line,) = [line for line in run("plan", "fleet.yaml").out.splitlines() if line.startswith("mixed")]
    decisions = json.loads(run("plan", "fleet.yaml", "--output", "json").out)["decisions"]
    (cell,) = next(decision["cells"] for decision in decisions if decision["guest"] == "mixed")
    assert f"  {cell['cpus']}  own {cell['pins']['1']}  " in line
    assert cell["pins"]["1"] != "1"


@pytest.mark.parametrize(
    ("guest", "says"),
    [
        (WIDE.replace("3,", "2,").replace("1,", "2,"), "3 vCPUs in 512MiB, 1 vCPU in 256MiB, and 2 vCPUs in 512MiB"),
        (OWN.replace("emulator: own", "emulator: guest"), "with emulator own, and guest is asked for"),
        (OWN.replace("isolate", "require"), "with smt isolate, and require is asked for"),
        (MIXED.replace('"1"', '"0"'), "with cpus mixed (dedicated 1), and mixed (dedicated 0) is asked for"),
        (MIXED.replace("emulator: guest", "emulator: own"), "with emulator guest, and own is asked for"),
        (HUGE.replace("largest", "4KiB"), "with page_size 2MiB, and 4KiB is asked for"),
        (ONE.replace("strict", "preferred"), "with memory_mode strict, and preferred is asked for"),
    ],
)
def test_another_shape_is_an_error_that_says_what_to_do(run: Run, there: Path, guest: str, says: str) -> None:
    write(there, guest)
    ended = run("plan", "fleet.yaml")
    assert ended.status == 2
    assert says in " ".join(ended.err.split())
    assert "numaplace destroy" in ended.err


@pytest.fixture
def half_full(run: Run, tmp_path: Path) -> Path:
    """A node of which a guest has the half, and one as large without pCPUs."""
    shape = "synthetic:node:1 core:4 memory:1GiB memory-only:1"
    assert run("sim", "create", "h1.sim", "--from", shape, "--name", "h1").status == 0
    (tmp_path / "hosts.yaml").write_text("hosts: {h1: {sources: ['sim:h1.sim'], reserve: 64MiB}}\n")
    write(tmp_path, NEAR)
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    return tmp_path


NEAR = "{name: near, vcpus: 1, memory: 512MiB}"


def test_a_guest_whose_memory_is_far_keeps_it(run: Run, half_full: Path) -> None:
    """Created and seen there, on its plan and not local; adopted it is as it is; who no longer allows it is told."""
    big = "{name: big, vcpus: 1, memory: 768MiB, far_memory: true}"
    write(half_full, NEAR, big)
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    (row,) = [row for row in run("status", "--output", "json").json["guests"] if row["guest"] == "big"]
    assert ("0-3", "1", True) == (row["cpus"], row["memory_nodes"], row["binding_ok"])
    assert (1.0, 0.0) == (row["on_plan_ratio"], row["locality_ratio"])
    (repaired,) = run("repair", "big", "--dry-run", "--output", "json").json["guests"]
    assert (True, 1.0) == (repaired["before"]["binding_ok"], repaired["before"]["on_plan_ratio"])
    assert run("plan", "fleet.yaml").status == 0
    write(half_full, NEAR, big.replace("true", "false"))
    assert "with far_memory true, and false is asked for" in " ".join(run("plan", "fleet.yaml").err.split())
    assert run("release", "big").status == 0
    (adopted,) = run("adopt", "big", "--output", "json").json["guests"]
    assert adopted["placement"]["far_memory"]


def test_one_guest_may_have_far_memory(run: Run, half_full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`advise` says that it would help, and with --far-memory where it is; so does `xml`."""
    words = ("advise", "1:768MiB", "--hosts", "hosts.yaml")
    assert "It would fit if: far_memory: true" in run(*words).out
    far = run(*words, "--far-memory")
    assert far.status == 0
    assert "memory on node 1, CPUs 0-3" in far.out
    assert "--numatune 1,memory.mode=restrictive" in far.out
    domain = "<domain type='kvm'><name>g</name><memory unit='MiB'>768</memory><vcpu>1</vcpu></domain>"
    for option, status in ((), 3), (("--far-memory",), 0):
        monkeypatch.setattr("sys.stdin", io.StringIO(domain))
        ran = run("xml", "--hosts", "hosts.yaml", *option)
        assert status == ran.status
    assert '<memory mode="restrictive" nodeset="1"' in ran.out
