"""The commands as people use them: what they print, what they write, how they end."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.scheduler.cli.conftest import Run


def applied(run: Run) -> None:
    run("plan", "fleet.yaml", "-o", "plan.json")
    assert run("apply", "plan.json").status == 3  # one guest has no place


def test_a_fleet_from_plan_to_destroy(run: Run, demo: Path) -> None:
    """Placed, created, where planned, gone."""
    planned = run("plan", "fleet.yaml", "-o", "plan.json")
    assert planned.status == 3
    assert "8 of 9 guests placed by solver" in planned.out
    assert "warehouse: no place (memory)" in planned.out
    assert "It would fit if" in planned.out
    done = run("apply", "plan.json", "--output", "json")
    assert (3, ["warehouse"], [3]) == (done.status, done.json["not_placed"], done.json["exit_statuses"])
    assert {"active"} == {guest["state"] for guest in done.json["guests"]}
    status = run("status", "--output", "json")
    assert status.status == 0
    assert {(True, 1.0)} == {(guest["binding_ok"], guest["on_plan_ratio"]) for guest in status.json["guests"]}
    names = [guest["guest"] for guest in status.json["guests"]]
    assert run("destroy", *names).status == 0
    assert "no guests in the books" in run("status").out
    assert run("sim", "list", "h1.sim", "--output", "json").json["domains"] == []


def test_a_dry_run_creates_nothing(run: Run, demo: Path) -> None:
    """Neither in the hypervisors nor in the books; of apply and of destroy."""
    run("plan", "fleet.yaml", "-o", "plan.json")
    assert run("apply", "plan.json", "--dry-run").status == 3
    assert "no guests in the books" in run("status").out
    run("apply", "plan.json")
    assert "web-1: would be destroyed" in run("destroy", "web-1", "--dry-run").out
    assert len(run("status", "--output", "json").json["guests"]) == 8


def test_planned_twice_guests_stay_where_they_are(run: Run, demo: Path) -> None:
    """The second plan repeats the first's homes; a changed guest is an error that says what to do."""
    applied(run)
    first = json.loads((demo / "plan.json").read_text())
    again = run("plan", "fleet.yaml", "-o", "again.json", "--output", "json").json
    assert [d for d in first["decisions"] if "host" in d] == [d for d in again["decisions"] if "host" in d]
    assert run("apply", "again.json").status == 3
    (demo / "fleet.yaml").write_text((demo / "fleet.yaml").read_text().replace("memory: 256MiB", "memory: 300MiB", 1))
    changed = run("plan", "fleet.yaml")
    assert changed.status == 2
    assert "guest web-1: is on" in changed.err
    assert "numaplace destroy web-1" in changed.err


def test_a_host_that_is_down_stops_only_its_guests(run: Run, demo: Path) -> None:
    """Exit status 6 everywhere; the other host is planned on, looked at and worked on."""
    run("plan", "fleet.yaml", "-o", "plan.json")
    (demo / "h2.sim").rename(demo / "off")
    done = run("apply", "plan.json", "--output", "json")
    assert done.status == 6
    assert {("h1", 0), ("h2", 6)} == {(guest["host"], guest["exit_status"]) for guest in done.json["guests"]}
    assert "host h2 is left out" in done.err
    planned = run("plan", "fleet.yaml", "--output", "json")
    assert planned.status == 6
    assert {"h1"} == {d["host"] for d in planned.json["decisions"] if "host" in d}
    (demo / "off").rename(demo / "h2.sim")
    assert run("apply", "plan.json").status == 3
    (demo / "h2.sim").rename(demo / "off")
    status = run("status", "--output", "json")
    assert (6, ["h2"]) == (status.status, list(status.json["unreached"]))
    assert run("destroy", "web-1", "db-2").status == 6
    assert "db-2" in {guest["guest"] for guest in run("status", "--output", "json").json["guests"]}


@pytest.mark.parametrize(
    ("call", "kind", "expected"), [("start", "fail", 7), ("start", "lose-reply", 8), ("define", "fail", 7)]
)
def test_trouble_has_its_exit_status_and_a_second_apply_mends_it(
    run: Run, demo: Path, call: str, kind: str, expected: int
) -> None:
    """7 definitely not, 8 not known; `status` says what to do; nothing else is harmed."""
    run("plan", "fleet.yaml", "-o", "plan.json")
    run("sim", "inject", "h1.sim", call, kind)
    assert run("apply", "plan.json").status == expected
    status = run("status")
    assert (status.status == 8) == (kind == "lose-reply")
    assert ("status --reconcile" in status.out) == (kind == "lose-reply")
    assert run("apply", "plan.json").status == 3
    assert run("status").status == 0


def test_what_somebody_else_did_is_seen_and_reconciled(run: Run, demo: Path) -> None:
    """A guest that is gone: exit status 4, `lost` after --reconcile, released by destroy."""
    from scheduler.sim.hypervisor import SimHypervisor

    applied(run)
    sim = SimHypervisor(demo / "h1.sim")
    (gone,) = (d for d in sim.domains() if d.wanted.name == "web-1")
    sim.destroy(gone.wanted.uuid)
    sim.undefine(gone.wanted.uuid)
    assert run("status").status == 4
    found = run("status", "--reconcile", "--output", "json")
    assert [{"guest": "web-1", "state": "lost"}] == found.json["reconciled"]
    assert run("destroy", "web-1").status == 0
    assert run("status").status == 0


def test_pictures_and_files_are_written_whole(run: Run, demo: Path) -> None:
    """An SVG of both hosts, a snapshot that reads back, a graph."""
    assert run("status", "--svg", "fleet.svg").status == 0
    root = ET.parse(demo / "fleet.svg").getroot()
    assert len(root.findall(".//{http://www.w3.org/2000/svg}g[@class='host']")) == 2
    probed = run("probe", "--host", "h1", "-o", "h1.json", "--svg", "h1.svg", "--graph", "graph.json")
    assert probed.status == 0
    assert run("probe", "--host", "h1.json").out.splitlines()[1:] == probed.out.splitlines()[1:]
    assert json.loads((demo / "graph.json").read_text())["nodes"]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["prob"], 2, "Maybe 'probe'?"),
        (["plan", "nosuch.yaml"], 2, "nosuch.yaml: cannot be read"),
        (["apply", "nosuch.json"], 2, "nosuch.json: cannot be read"),
        (["apply", "fleet.yaml"], 2, "fleet.yaml"),
        (["plan", "fleet.yaml", "--policy", "nosuch"], 2, "nosuch"),
        (["plan", "fleet.yaml", "--hosts", "nosuch.yaml"], 2, "nosuch.yaml: cannot be read"),
        (["plan", "fleet.yaml", "--host", "h1", "--host", "h1"], 2, "'h1': stands there twice"),
        (["probe", "--host", "h9"], 2, "no host of this name"),
        (["probe", "--host", "foo:bar"], 2, "expected a source"),
        (["probe", "--host", "sysfs:/nosuch"], 6, "no such file or folder"),
        (["probe", "--host", "qemu+ssh://h/system?command=/bin/sh"], 2, "command"),
        (["destroy", "nosuch"], 2, "not in the books"),
        (["advise", "many:8GiB"], 2, "many:8GiB"),
        (["advise", "1:8GB"], 2, "8GB"),
        (["probe", "--host", "h1", "-o", "nosuch/h1.json"], 2, "nosuch/h1.json: cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_told_in_a_line_or_two(run: Run, demo: Path, words: list[str], status: int, says: str) -> None:
    """Where, what, and never a traceback."""
    ran = run(*words)
    assert status == ran.status, ran.err
    assert says in ran.err + ran.out
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 6


def test_advise_answers_for_one_guest(run: Run, demo: Path) -> None:
    """A definition to paste; or what lacks, and what would fit."""
    fits = run("advise", "2:512MiB", "--host", "sim:h1.sim")
    assert fits.status == 0
    assert "--numatune" in fits.out
    assert "<numatune>" in fits.out
    largest = run("advise", "2:512MiB", "--page-size", "largest", "--host", "sim:h1.sim")
    assert "<hugepages>" in largest.out
    refused = run("advise", "64:512GiB", "--host", "sim:h1.sim")
    assert refused.status == 3
    assert "It would fit if: vcpus: " in refused.out


def test_advise_pins_each_vcpu_of_a_guest_that_owns_some(run: Run, demo: Path) -> None:
    """The line for virt-install too: without it the other vCPUs would run on what is one vCPU's own."""
    ran = run("advise", "2:512MiB", "--dedicated-vcpus", "1", "--host", "sim:h1.sim")
    (sentence, *_), (line,) = ran.out.splitlines(), [line for line in ran.out.splitlines() if "--numatune" in line]
    own = sentence.rpartition("its own ")[2]
    assert f"vcpupin1.vcpu=1,vcpupin1.cpuset={own}" in line
    assert f"vcpupin0.cpuset={own}," not in line
    wrong = run("advise", "2:512MiB", "--dedicated-vcpus", "one", "--host", "sim:h1.sim")
    assert "expected vCPUs such as 0-3,8, got 'one'" in wrong.err


FOUR_NODES = "synthetic:node:4 core:4 memory:8GiB"
"""Without a node of more than 4 pCPUs or 8 GiB, and without pages of 1 GiB."""


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["6:4GiB"], "max_nodes: 2 (--max-nodes 2)"),
        (["6:4GiB", "--dedicated", "--cells", "5"], "cells: auto (--cells auto)"),
        (["2:2GiB", "--page-size", "1GiB"], "page_size: 4KiB (--page-size 4KiB)"),
        (["1:9GiB"], "memory: 7936MiB (1:7936MiB)"),
        (["40:4GiB", "--cells", "2"], "vcpus: 8 (8:4GiB)"),
        (["40:64GiB"], "vcpus: 4, memory: 7936MiB (4:7936MiB)"),
    ],
)
def test_what_advise_says_would_help_helps_when_it_is_asked_for(run: Run, asked: list[str], told: str) -> None:
    """Each option that it names is there, and with it the guest has a place."""
    refused = run("advise", *asked, "--host", FOUR_NODES)
    assert (3, f"It would fit if: {told}") == (refused.status, refused.out.splitlines()[1])
    changed = told.partition("(")[2].rstrip(")").split()
    size = asked[0] if changed[0].startswith("--") else changed.pop(0)
    assert run("advise", size, *asked[1:], *changed, "--host", FOUR_NODES).status == 0


def test_advise_and_xml_are_told_to_leave_options_away(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where only shared pCPUs help; a change of the XML itself names the element."""
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text(f"hosts:\n  h: {{sources: ['{FOUR_NODES}'], cpus: {{shared: 0-15}}}}\n")
    refused = run("advise", "2:1GiB", "--dedicated", "--hosts", str(hosts))
    assert "It would fit if: cpus: shared (no --dedicated, no --dedicated-vcpus)" in refused.out
    assert run("advise", "2:1GiB", "--hosts", str(hosts)).status == 0
    given(monkeypatch, OWN_XML.format(kind="kvm", pins="").replace("64", "64000"))
    assert "(in the XML: <memory>)" in run("xml", "--hosts", str(hosts)).err


def test_a_guest_that_may_span_nodes_does(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By --max-nodes of advise and of xml; each vCPU is pinned to its node, in the line for virt-install too."""
    ran = run("advise", "6:4GiB", "--max-nodes", "2", "--host", FOUR_NODES)
    (line,) = [line for line in ran.out.splitlines() if "--numatune" in line]
    assert "vcpupin0.cpuset=0-3,vcpupin1.vcpu=1" in line
    assert "memory.mode=interleave" in line
    given(monkeypatch, OWN_XML.format(kind="kvm", pins="").replace("<vcpu>1<", "<vcpu>6<"))
    assert 'vcpu="5" cpuset="4-7"' in run("xml", "--max-nodes", "2", "--host", FOUR_NODES).out


def test_pictures_draw_what_the_books_promise(run: Run, tmp_path: Path) -> None:
    """Idle siblings, an emulator's own pCPU, and what of a mixed guest is its own; of probe as of status."""
    source = "synthetic:node:1 core:6 pu:2 memory:4GiB"
    assert run("sim", "create", "h.sim", "--from", source, "--name", "h").status == 0
    (tmp_path / "hosts.yaml").write_text(
        "hosts:\n  h: {sources: ['sim:h.sim'], cpus: {dedicated: 0-9, shared: 10-11}}\n"
    )
    isolated = "{name: alone, vcpus: 2, memory: 64MiB, cpus: dedicated, smt: isolate, emulator: own}"
    mixed = "{name: mixed, vcpus: 3, memory: 64MiB, cpus: mixed, dedicated_vcpus: 0-1}"
    (tmp_path / "fleet.yaml").write_text(f"guests:\n  - {isolated}\n  - {mixed}\n")
    assert run("plan", "fleet.yaml", "-o", "plan.json").status == 0
    assert run("apply", "plan.json").status == 0
    for words in (("status",), ("probe", "--host", "h")):
        text = run(*words).out
        assert "│ L3 A- A- =· BB ·· bb " in text
        assert "A alone (idle 1,3; emulator " in text
        assert "Bb mixed" in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(run: Run, shell: str) -> None:
    """And names the command that it completes."""
    ran = run("completion", shell)
    assert ran.status == 0
    assert "_NUMAPLACE_COMPLETE" in ran.out


def test_schemas_are_json_schemas(run: Run) -> None:
    """For an editor: of fleet and hosts files, every key with a description."""
    for name in ("fleet", "hosts"):
        schema = run("schema", name).json
        assert schema["type"] == "object"
        for definition in schema["$defs"].values():
            for key, inner in definition.get("properties", {}).items():
                assert inner.get("description"), key


OWN_XML = """<domain type='{kind}'>
  <!-- mine -->
  <name>q</name>
  <uuid>11111111-1111-4111-8111-111111111111</uuid>
  <description>{{"braces": 1}} {{x}}</description>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>{pins}
  <devices><interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices>
</domain>
"""


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize(("kind", "binds"), [("kvm", "numatune"), ("xen", "vcpupin")])
def test_xml_gives_back_the_same_with_its_placement(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, binds: str
) -> None:
    """uuid, MAC, comments and braces stay; a Xen guest gets pins and nothing that Xen ignores."""
    text = OWN_XML.format(kind=kind, pins="")
    given(monkeypatch, text)
    ran = run("xml", "--host", "synthetic:node:2 core:4 memory:8GiB")
    assert ran.status == 0
    assert [line for line in text.splitlines() if "<vcpu>" not in line and line not in ran.out.splitlines()] == []
    assert f"<{binds}" in ran.out
    assert ("numatune" in ran.out) == (kind == "kvm")
    assert "numaplace" not in ran.out


def test_xml_asks_before_it_gives_up_pins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error names them; --replace-pins replaces them; too large a guest is told what would fit."""
    pinned = OWN_XML.format(kind="kvm", pins="<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>")
    source = ("--host", "synthetic:node:2 core:4 memory:8GiB")
    given(monkeypatch, pinned)
    refused = run("xml", *source)
    assert refused.status == 2
    assert "<cputune><vcpupin>" in refused.err
    given(monkeypatch, pinned)
    assert 'vcpu="0" cpuset="0-3"' in run("xml", *source, "--replace-pins").out
    given(monkeypatch, OWN_XML.format(kind="kvm", pins="").replace("64", "64000"))
    large = run("xml", *source)
    assert large.status == 3
    assert "It would fit if: memory: " in large.err


def test_completion_knows_the_guests_of_the_books(run: Run, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bash asks when somebody types `numaplace destroy db<TAB>`."""
    applied(run)
    monkeypatch.setenv("_NUMAPLACE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "numaplace destroy db")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run().out.split() == ["plain,db-1", "plain,db-2"]
