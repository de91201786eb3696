"""Pictures of hosts: complete, well-formed, and deaf to what a guest's name would make them do."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from hypothesis import given

from probe.cpuset import CpuSet, NodeId
from probe.picture.layout import Booked, Use, layout
from probe.picture.svg import hosts_svg
from probe.picture.terminal import host_picture, host_table
from probe.snapshot import HostSnapshot, Occupant, OccupantMemory, OccupantState
from probe.sources.registry import read_source
from tests.policies.hosts import GIB_KIB
from tests.strategies import snapshots

OWNS_0 = Booked(own={0: Use.VCPU}, floats=False)
SVG = "{http://www.w3.org/2000/svg}"


@given(snapshots())
def test_the_svg_has_one_box_a_node_and_every_guest_in_its_legend(snapshot: HostSnapshot) -> None:
    """Whatever the host, the picture is well-formed XML and leaves nobody out."""
    root = ET.fromstring(hosts_svg({"<host> & co": snapshot, "h2": snapshot}))
    assert 2 * len(snapshot.topology.nodes) == len(root.findall(f".//{SVG}g[@class='node']"))
    legend = {text.text for text in root.iterfind(f".//{SVG}g[@class='legend']/{SVG}text")}
    shown = {o.guest for o in snapshot.occupants if o.state is not OccupantState.SHUTOFF}
    assert {"".join(c if c.isprintable() else "?" for c in guest) for guest in shown} <= {t or "" for t in legend}


@given(snapshots())
def test_the_terminal_shows_every_node_and_obeys_no_name(snapshot: HostSnapshot) -> None:
    """Each node has a box and a row; a guest's name writes no escape sequences."""
    picture = "\n".join(host_picture(snapshot, width=100, colour=False))
    table = host_table(replace(snapshot, hostname="h", disagreements=()))
    for node in snapshot.topology.nodes:
        assert f" node {node.node_id} " in picture
        assert any(line.split()[:1] == [str(node.node_id)] for line in table.splitlines())
    assert "\x1b" not in picture


@given(snapshots())
def test_every_cpu_of_a_node_is_drawn_once(snapshot: HostSnapshot) -> None:
    """L3 domains and cores group the CPUs; none is lost or drawn twice in its box."""
    for box in layout(snapshot).boxes:
        drawn = [cell.cpu for domain in box.domains for core in domain.cores for cell in core]
        assert sorted(box.node.cpus) == sorted(drawn)


def host(name: str, *guests: str) -> HostSnapshot:
    """Two nodes of two packages; guest i has one vCPU on pCPU i, 1 GiB on node 0 and half of it resident."""
    base = read_source("synthetic:package:2 node:1 core:4 memory:8GiB distance:10,21")
    memory = (OccupantMemory(node_id=NodeId(0), kib=GIB_KIB, resident_kib=GIB_KIB // 2),)
    occupants = tuple(
        Occupant(
            guest=guest,
            uuid=guest,
            state=OccupantState.RUNNING,
            vcpus=1,
            effective_cpus=CpuSet.of(cpu),
            memory=memory,
        )
        for cpu, guest in enumerate(guests)
    )
    return replace(base, hostname=name, occupants=occupants)


def test_a_guest_has_one_colour_and_one_letter_in_the_whole_picture() -> None:
    """Two guests on two hosts are not drawn alike."""
    first, second = host("h1", "a", "b"), host("h2", "c")
    drawn = ET.fromstring(hosts_svg({"h1": first, "h2": second}))
    fills = {
        title.text: cell.findall(f"{SVG}rect")[0].get("fill")
        for cell in drawn.iter(f"{SVG}g")
        if (title := cell.find(f"{SVG}title")) is not None and (title.text or "").startswith("CPU")
    }
    assert 3 == len({fills["CPU 0: a"], fills["CPU 1: b"], fills["CPU 0: c"]})
    lines = host_picture(second, width=80, colour=False, guests=("a", "b", "c"))
    assert "│ L3 c · · ·" in "\n".join(lines) or "│ c · · ·" in "\n".join(lines)
    assert "guests: c c" in lines


def test_who_owns_cpus_is_drawn_otherwise_than_who_shares_them() -> None:
    """A capital letter, a thick border; the key says so."""
    snapshot = host("h1", "db", "web")
    text = "\n".join(host_picture(snapshot, width=80, colour=False, booked={"db": OWNS_0}))
    assert "A b · ·" in text
    assert "A owns its CPUs, a shares them" in text
    drawn = hosts_svg({"h1": snapshot}, {"h1": {"db": OWNS_0}})
    assert 2 == drawn.count('stroke-width="3"') - drawn.count("owns its CPUs")
    assert "owns its CPUs" not in hosts_svg({"h1": snapshot})


MIXED = Booked(own={0: Use.VCPU, 1: Use.IDLE, 2: Use.EMULATOR}, floats=True)


def test_what_is_booked_is_not_drawn_as_free() -> None:
    """A sibling that stays idle and the emulator's own CPU; of a mixed guest only its own CPUs have a capital."""
    base = host("h1", "mixed")
    (mixed,) = base.occupants
    snapshot = replace(base, occupants=(replace(mixed, effective_cpus=CpuSet.of(0, 3)),))
    text = "\n".join(host_picture(snapshot, width=80, colour=False, booked={"mixed": MIXED}))
    assert "A - = a" in text
    assert "guests: Aa mixed (idle 1; emulator 2)" in text
    assert "- kept idle for the guest beside it" in text
    assert "= for a guest's emulator threads alone" in text
    drawn = ET.fromstring(hosts_svg({"h1": snapshot}, {"h1": {"mixed": MIXED}}))
    cells = {
        title.text: cell.findall(f"{SVG}rect")
        for cell in drawn.iter(f"{SVG}g")
        if (title := cell.find(f"{SVG}title")) is not None and (title.text or "").startswith("CPU")
    }
    borders = [rects[-1].get("stroke-width") for title, rects in cells.items() if "mixed" in (title or "")]
    assert ["3", "3", "3", "1"] == borders
    assert cells["CPU 1: mixed, kept idle"][0].get("fill-opacity")
    assert cells["CPU 2: mixed, its emulator threads"][-1].get("stroke-dasharray")
    assert {"kept idle for its guest", "emulator threads alone"} <= {text.text for text in drawn.iter(f"{SVG}text")}


def test_a_guest_that_does_not_run_keeps_its_place_in_the_picture() -> None:
    """And where another may run on its CPU both are drawn."""
    text = "\n".join(host_picture(host("h1"), width=80, colour=False, booked={"gone": OWNS_0}))
    assert "A · · ·" in text
    assert "guests: A gone" in text
    assert "+ · · ·" in "\n".join(host_picture(host("h1", "web"), width=80, colour=False, booked={"gone": OWNS_0}))


def test_what_is_promised_is_in_the_bar() -> None:
    """One of two GiB is resident; the other is no longer to be had."""
    (bar, _) = (box.memory for box in layout(host("h1", "db", "web")).boxes)
    assert (0, 0, GIB_KIB) == bar.parts_kib
    text = "\n".join(host_picture(host("h1", "db", "web"), width=80, colour=False))
    assert "1GiB of that promised" in text
    assert "▓ promised, not touched yet" in text
    assert 'fill="#b9a3d3"' in hosts_svg({"h1": host("h1", "db")})


def test_packages_are_framed_and_distances_told() -> None:
    """In the SVG each package around its nodes; in the terminal in the title of each node."""
    drawn = hosts_svg({"h1": host("h1")})
    assert 2 == drawn.count("stroke-dasharray")
    assert "package 1" in drawn
    assert "distances to nodes 0-1: 21, 10" in drawn
    assert "┌ node 1 · package 1 ─" in "\n".join(host_picture(host("h1"), width=80, colour=False))


def test_a_legend_keeps_to_the_width() -> None:
    """Wrapped at 40 columns; of 200 guests not all are named."""
    names = [f"guest-{number}" for number in range(200)]
    lines = host_picture(host("h1", *names), width=40, colour=False)
    legend = lines[next(i for i, line in enumerate(lines) if line.startswith("guests:")) :]
    assert max(map(len, legend)) <= 40
    assert "and 160 more" in "\n".join(legend)


def test_many_distances_are_summed_up() -> None:
    """Nodes with the same distances in one line; of few nodes the matrix."""
    many = host_table(read_source("synthetic:package:8 node:4 core:1 memory:1GiB distance:10,12,21"))
    assert "  nodes 0-31: 12 to 3, 21 to 28" in many.splitlines()
    assert "node   0   1" in host_table(host("h1"))
    assert "1 package, 1 core, 1 CPU" in host_table(read_source("synthetic:node:1 core:1 memory:1GiB"))
