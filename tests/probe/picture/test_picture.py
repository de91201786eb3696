"""Pictures of hosts: complete, well-formed, and deaf to what a guest's name would make them do."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

from hypothesis import given

from probe.picture.layout import layout
from probe.picture.svg import hosts_svg
from probe.picture.terminal import host_picture, host_table
from probe.snapshot import HostSnapshot, OccupantState
from tests.strategies import snapshots

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
