"""Xen's own texts: recorded ones agree with what the hypervisor and other tools said of the host."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from probe.cpuset import CpuSet, NodeSet
from probe.errors import NumaplaceError, SourceMalformedError, SourceUnreadableError
from probe.limits import DEFAULT_LIMITS
from probe.mark import XL_DEFINITIONS
from probe.snapshot import HostSnapshot, Hypervisor, OccupantState
from probe.sources.registry import read_source
from probe.sources.xen_domains import (
    parse_xl_vcpu_list,
)
from probe.sources.xen_info import parse_xl_info
from probe.sources.xen_xl import COMMANDS, REMOTE_COMMAND, XlTexts, parse_xl, read_xl, split_remote
from tests.probe.mutations import mutated

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MIB = 1024

INFO = """\
host                   : x1
nr_cpus                : 6
max_cpu_id             : 10
cpu_topology           :
cpu:    core    socket     node
  0:       0        0        0
  2:       1        0        0
  4:       0        1        1
  6:       1        1        1
  8:       1        1        1
 10:       2        1        1
device topology        :
device           node
No device topology data available
numa_info              :
node:    memsize    memfree    distances
   0:     67584      60672      10,21,4294967295
   1:     65536      60958      21,10,255
   2:      1024       1000      4294967295,255,10
xen_major              : 4
"""


def xl(info: str, domains: str = "", vcpus: str = "", pools: str = "", pool_cpus: str = "") -> HostSnapshot:
    texts = XlTexts(info=info, domains=domains, vcpus=vcpus, pools=pools, pool_cpus=pool_cpus)
    return parse_xl(texts, origin="xl", now=NOW, spec="xl:")


def test_trap_6_memsize_is_a_span_and_odd_distances_mean_no_path() -> None:
    """67584 MiB were shown for 63.5 GiB: no node has a total. 2^32-1 and 0xFF are "no path"."""
    host = xl(INFO)
    assert [n.memory_total_kib for n in host.topology.nodes] == [None, None, None]
    assert [(m.total_kib, m.free_kib) for m in host.memory] == [
        (None, 60672 * MIB),
        (None, 60958 * MIB),
        (None, 1000 * MIB),
    ]
    assert dict(host.topology.node(0).distances or {}) == {0: 10, 1: 21, 2: 255}
    assert host.topology.distance(1, 2) == 255
    assert host.topology.node(2).cpus == CpuSet()


def test_trap_7_cpu_ids_have_holes_without_smt() -> None:
    """With `smt=0` every other id is missing; cores are one CPU each, and nothing is renumbered."""
    topology = parse_xl_info(INFO, origin="xl").topology
    assert str(topology.online_cpus) == "0,2,4,6,8,10"
    assert [str(core.cpus) for core in topology.cores] == ["0", "2", "4", "6,8", "10"]
    assert [str(p.cpus) for p in topology.packages] == ["0,2", "4,6,8,10"]


def test_a_snapshot_of_xl_says_who_it_is() -> None:
    """Hypervisor, name, source and time; without guests where only `xl info -n` was kept."""
    host = xl(INFO)
    assert (host.hostname, host.hypervisor, host.sources, host.taken_at) == ("x1", Hypervisor.XEN, ("xl:",), NOW)
    assert (host.occupants, host.cpupools) == ((), ())


def test_xen_4_0_tells_cpus_and_free_memory_by_node() -> None:
    """`node_to_cpu` and `node_to_memory`, which go on over lines; cores are unknown."""
    text = (
        "host : old\nnode_to_cpu            : node0:0-3\n                         node1:4-7\n"
        "                         node2:no cpus\n"
        "node_to_memory         : node0:8004\n                         node1:100\n                         node2:5\n"
        "node_to_dma32_mem      : node0:2985\n                         node1:7\n"
    )
    info = parse_xl_info(text, origin="xl")
    assert [str(n.cpus) for n in info.topology.nodes] == ["0-3", "4-7", ""]
    assert dict(info.free_kib) == {0: 8004 * MIB, 1: 100 * MIB, 2: 5 * MIB}
    assert (info.topology.cores, info.topology.packages) == ((), ())


LIST = """\
Name                                        ID   Mem VCPUs	State	Time(s)   UUID                            Reason-Code	Security Label         Cpupool
Domain-0                                     0   768     1     r-----      56.6 00000000-0000-0000-0000-000000000000        -                -          Pool-a
my guest 7                                   5   128     1     --p---       0.0 a9612b7f-40ab-425f-8e00-723518a6f145        -                -          Pool-b
(null)                                   28441   789     1     --psc-       1.2 a9612b7f-40ab-425f-8e00-723518a6f146        c                -          Pool-b
"""  # noqa: E501
VCPUS = """\
Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)
Domain-0                             0     0    0   r--      58.2  0,2 / all
my guest 7                           5     0    5   ---       0.0  all / 4
my guest 7                           5     1    -   --p       0.0  all / 4
"""
POOLS = "Name               CPUs   Sched     Active   Domain count\nPool-a 2 credit2 y 1\nPool-b 4 credit y 2\n"
POOL_CPUS = "Name               CPU list\nPool-a             0,2\nPool-b             4,6,8\n"


def test_a_cpupool_bounds_its_guests_and_the_host() -> None:
    """ "all" means all of the pool; CPU 10, in no pool, is withheld from everybody."""
    host = xl(INFO, LIST, VCPUS, POOLS, POOL_CPUS)
    assert [(o.guest, str(o.effective_cpus)) for o in host.occupants[:2]] == [
        ("Domain-0", "0,2"),
        ("my guest 7", "4,6,8"),
    ]
    assert str(host.usable_cpus) == "0,2,4,6,8"
    assert [(p.name, str(p.cpus), p.scheduler, p.domains) for p in host.cpupools] == [
        ("Pool-a", "0,2", "credit2", 1),
        ("Pool-b", "4,6,8", "credit", 2),
    ]


def test_guests_have_uuid_state_maximum_vcpus_and_all_their_memory() -> None:
    """Dom0 is one of them; a paused guest has 2 vCPUs although `xl list` shows the one plugged in."""
    dom0, guest, dying = xl(INFO, LIST, VCPUS, POOLS, POOL_CPUS).occupants
    assert (dom0.guest, dom0.state, dom0.vcpus) == ("Domain-0", OccupantState.RUNNING, 1)
    assert (guest.uuid, guest.state, guest.vcpus) == (
        "a9612b7f-40ab-425f-8e00-723518a6f145",
        OccupantState.PAUSED,
        2,
    )
    assert [(m.kib, m.resident_kib, m.node_id) for m in guest.memory] == [(128 * MIB, 128 * MIB, 1)]
    assert (dying.state, dying.effective_cpus) == (OccupantState.OTHER, None)


@pytest.mark.parametrize(
    ("affinity", "node", "among"),
    [
        ("4,6 / all", 1, None),
        ("4,6 / 8", 1, None),
        ("4,6 / 0", None, NodeSet.of(0, 1)),
        ("0,4 / all", None, None),
        ("all / 4", None, None),
    ],
)
def test_memory_is_where_the_hard_affinity_is_unless_the_soft_one_points_elsewhere(
    affinity: str, node: int | None, among: NodeSet | None
) -> None:
    """The string form of `cpus=` in xl.cfg leaves hard 4-5, soft 2-3, and the memory at 2-3."""
    vcpus = f"Name ID VCPU CPU State Time(s) Affinity\ng 1 0 - --p 0.0 {affinity}\n"
    (guest,) = xl(INFO, "Name ID Mem VCPUs State Time(s)\ng 1 128 1 --p--- 0.0\n", vcpus).occupants
    assert [(m.node_id, m.nodes) for m in guest.memory] == [(node, among)]


def test_before_xen_4_5_there_is_one_affinity() -> None:
    """ "any cpu" was the word for all."""
    text = "Name ID VCPU CPU State Time(s) CPU Affinity\nDomain-0 0 0 3 -b- 12.5 any cpu\ng x 1 0 5 r-- 1.0 4-5\n"
    assert [(v.hard, v.soft) for v in parse_xl_vcpu_list(text, origin="x")] == [(None, None), (CpuSet.of(4, 5), None)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a 'cpu_topology' table"),
        ("host : h\nnr_cpus : 8\n", "a 'cpu_topology' table"),
        (INFO.replace("  2:       1        0        0", "  2:       1        0"), "a row 'cpu: core socket node'"),
        (INFO.replace("60958      21,10", "free      21,10"), "a row 'node: memsize"),
        (INFO.replace("  2:       1", "99999:       1"), "an id up to"),
    ],
)
def test_malformed_texts_name_what_is_wrong(text: str, expected: str) -> None:
    """Without `-n` there is no table, and the advice says so."""
    with pytest.raises(SourceMalformedError, match=re.escape(expected)) as error:
        xl(text)
    assert "cpu_topology" not in expected or "xl info -n" in error.value.advice


@given(
    st.one_of(mutated(INFO), st.text(max_size=300)), mutated(LIST), mutated(VCPUS), mutated(POOLS), mutated(POOL_CPUS)
)
def test_mutated_texts_are_read_or_refused_by_our_errors_only(
    info: str, domains: str, vcpus: str, pools: str, pool_cpus: str
) -> None:
    """Nothing but NumaplaceError leaves the parsers."""
    for texts in ((info, LIST, VCPUS, POOLS, POOL_CPUS), (INFO, domains, vcpus, pools, pool_cpus)):
        try:
            host = xl(*texts)
        except NumaplaceError:
            continue
        assert host.usable_cpus <= host.topology.online_cpus


def test_one_connection_brings_all_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssh gets one fixed remote command; its output is cut into the five texts."""
    for name, text in zip(COMMANDS, (INFO, LIST, VCPUS, POOLS, POOL_CPUS), strict=True):
        (tmp_path / name.replace(" ", "_")).write_text(text)
    (tmp_path / "xl").write_text(f'#!/bin/sh\ncat "{tmp_path}/xl_$(echo "$*" | tr " " _)"\n')
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\necho "$*" > {tmp_path}/argv\nwhile [ $# -gt 1 ]; do shift; done\neval "$1"\n'
    )
    for tool in ("xl", "ssh"):
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    far = read_source("xl+ssh://root@x1:2422", now=NOW)
    near = read_source("xl:", now=NOW)
    assert far.sources == ("xl+ssh://root@x1:2422",)
    assert (far.occupants[1].guest, far.topology, far.cpupools) == ("my guest 7", near.topology, near.cpupools)
    argv = (tmp_path / "argv").read_text()
    assert argv.endswith(f"-p 2422 -- root@x1 exec sh -c '{REMOTE_COMMAND}'\n")
    with pytest.raises(SourceMalformedError, match="6 commands"):
        split_remote("nothing", origin="x1")


def test_guests_that_xl_created_bear_our_mark(tmp_path: Path) -> None:
    """Found by uuid in the definitions that lie on the host, so that a claim and its guest are counted once."""
    uuid = "23dce949-33fe-43eb-99d8-a60dc4b70ffd"
    text = f"Name ID Mem VCPUs State Time(s) UUID\nours 3 128 1 --p--- 0.0 {uuid}\nother 4 128 1 --p--- 0.0 -\n"
    (tmp_path / f"{uuid}.cfg").write_text('# numaplace ledger=l1 claim=c1\nname = "ours"\n')
    (tmp_path / "notes.cfg").write_text("# numaplace ledger=l9 claim=c9\n")
    command = REMOTE_COMMAND.rpartition(" && ")[2].replace(XL_DEFINITIONS, str(tmp_path))
    printed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    marks = printed.replace(str(tmp_path), XL_DEFINITIONS)
    host = parse_xl(XlTexts(info=INFO, domains=text, marks=marks), origin="xl", now=NOW, spec="xl:")
    assert [("ours", "l1", "c1"), ("other", None, None)] == [(o.guest, o.ledger, o.claim) for o in host.occupants]


def test_a_machine_without_xl_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`xl:` on a machine that is no Xen host."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnreadableError, match="xl is not installed") as error:
        read_xl("", limits=DEFAULT_LIMITS, now=NOW, spec="xl:")
    assert "xl+ssh://HOST" in error.value.advice


# -- recordings ---------------------------------------------------------------------------------------
