"""`numaplace bench memory` with tools that pretend: many nodes, nodes without CPUs or memory, policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.memory.measuring import LEAST_KIB, Pair, Speed, course
from benchmarks.memory.picture import Matrix, as_svg, for_terminal, matrices
from benchmarks.memory.tools import STREAM_PARTS
from probe.cpuset import NodeId
from probe.errors import BadInputError
from probe.snapshot import HostSnapshot
from probe.sources.registry import read_source
from tests.conftest import ROOT
from tests.scheduler.cli.conftest import Run

FOUR = "synthetic:node:4 core:2 memory:4GiB"
LAB = str(ROOT / "scheduler/demo/h1.json")
"""Four nodes of two CPUs, and one of memory only."""

NUMACTL = """\
#!/bin/sh
for word; do
    case $word in
    --physcpubind=*) NODE=$(( ${word#*=} / 2 )) 2>/dev/null || { cpus=${word#*=}; NODE=$(( ${cpus%%[-,]*} / 2 )); } ;;
    --membind=* | --interleave=* | --preferred=*) MEMORY=${word#*=} ;;
    *) break ;;
    esac
    shift
done
export NODE MEMORY
exec "$@"
"""
STRESS = """\
#!/bin/sh
echo "${NODE:-any} ${MEMORY:-any} $*" >> "$CALLS"
[ "$1" != --version ] || { echo "stress-ng, version 0.15.06 (gcc)"; exit 0; }
if [ "$NODE" = "$MEMORY" ]; then read=3072 ns=100; else read=1024 ns=250; fi
while [ $# -gt 0 ]; do
    case $1 in
    --stream) i=0; while [ $i -lt $2 ]; do
        echo "stream: memory rate: $read.00 MB read/sec, 1024.00 MB write/sec, 1 Mflop/sec (instance $i)" >&2
        i=$((i + 1)); done ;;
    --randlist-items) items=$2 ;;
    --randlist-ops) ops=$2 ;;
    --yaml) us=$(( 500000 + ops * 2 * items * ns / 1000 ))
        printf '    - stressor: randlist\\n      bogo-ops: %d\\n      user-time: %d.%06d\\n      system-time: 0\\n' \\
            $ops $((us / 1000000)) $((us % 1000000)) > "$2" ;;
    esac
    shift
done
"""
"""Half as fast and 2.5 times as far from another node than from the own one."""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tools in PATH, and the file in which the second notes how it was called."""
    (tmp_path / "bin").mkdir()
    for name, text in (("numactl", NUMACTL), ("stress-ng", STRESS)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_every_pair_beside_its_distance(run: Run, calls: Path) -> None:
    done = run("bench", "memory", "--host", FOUR, "--output", "json")
    assert done.status == 0, done.err
    assert "stress-ng, version 0.15.06" == done.json["tool"]
    pairs = {(p["cpu_node"], p["memory_node"]): p for p in done.json["pairs"]}
    assert len(pairs) == 16
    for (cpus, memory), pair in pairs.items():
        local = cpus == memory
        assert (10 if local else 20, 8192.0 if local else 4096.0) == (pair["distance"], pair["bandwidth_mib_s"])
        assert pair["latency_ns"] == pytest.approx(100 if local else 250, abs=0.2)


def test_the_table_draws_three_matrices(run: Run, calls: Path) -> None:
    done = run("bench", "memory", "--host", FOUR)
    assert done.status == 0, done.err
    assert "about 5 minutes" in done.err
    assert "25% of what is available" in done.err
    lines = done.out.splitlines()
    assert "bandwidth, GiB/s" in lines[0]
    assert "   0  8.0█  4.0   4.0   4.0" in done.out
    assert "latency, ns" in done.out
    assert "SLIT distance" in done.out


def test_a_node_without_cpus_is_reached_and_reaches_nobody(run: Run, calls: Path) -> None:
    done = run("bench", "memory", "--host", LAB, "--output", "json")
    assert done.status == 0, done.err
    assert {(c, m) for c in range(4) for m in range(5)} == {
        (pair["cpu_node"], pair["memory_node"]) for pair in done.json["pairs"]
    }
    assert ["Node 4 has no CPUs."] == done.json["left_out"]


def _with_available(snapshot: HostSnapshot, kib: dict[int, int]) -> HostSnapshot:
    memory = tuple(replace(m, free_kib=kib.get(m.node_id, m.free_kib), reclaimable_kib=0) for m in snapshot.memory)
    return replace(snapshot, memory=memory)


def test_a_node_without_memory_reaches_and_is_not_reached() -> None:
    plan = course(_with_available(read_source(FOUR), {1: 0}), share=0.25, seconds=8)
    assert {(c, m) for c in range(4) for m in (0, 2, 3)} == {(p.cpu_node, p.memory_node) for p in plan.pairs}
    assert ("Node 1 has too little memory available to be measured.",) == plan.left_out


@pytest.mark.parametrize("share", [0.01, 0.25, 0.9])
@pytest.mark.parametrize("available_gib", [0.1, 1, 4, 64])
def test_no_more_than_the_share_is_taken(share: float, available_gib: float) -> None:
    """Of any node, by either tool; and it is said where caches may have a part."""
    available = int(available_gib * 1024**2)
    snapshot = _with_available(read_source(FOUR), dict.fromkeys(range(4), available))
    if available * share < LEAST_KIB:
        with pytest.raises(BadInputError, match="--share"):
            course(snapshot, share=share, seconds=8)
        return
    for amounts in course(snapshot, share=share, seconds=8).amounts.values():
        assert max(amounts.stream_kib, amounts.list_kib) <= available * share
        assert amounts.beyond_l3 == (available * share >= 32 * 1024 * STREAM_PARTS)


def test_what_is_told_is_what_the_tools_are_given(run: Run, calls: Path) -> None:
    """STREAM's arrays are a twelfth of it four times, three of them; a list's item takes 40 bytes at first."""
    done = run("bench", "memory", "--host", FOUR, "--share", "0.05", "--output", "json")
    assert done.status == 0, done.err
    taken = {node: (a["stream_kib"], a["list_kib"]) for node, a in done.json["taken"].items()}
    for line in calls.read_text().splitlines():
        words = line.split()
        if "--stream" in words:
            assert int(words[words.index("--stream-l3-size") + 1]) * STREAM_PARTS <= taken[words[1]][0] * 1024
        if "--randlist" in words:
            assert int(words[words.index("--randlist-items") + 1]) * 40 <= taken[words[1]][1] * 1024


def test_one_node_has_nothing_to_compare(run: Run, calls: Path) -> None:
    done = run("bench", "memory", "--host", "synthetic:node:1 core:2 memory:4GiB")
    assert done.status == 0, done.err
    assert "Node 0: 8.0 GiB/s, 100 ns a load." in done.out
    assert "nothing to compare" in done.out


def test_guests_of_policies_run_where_their_plans_say(run: Run, calls: Path) -> None:
    """All of a policy's guests; ours are bound to a node each, those that nobody binds to nothing."""
    done = run("bench", "memory", "--host", FOUR, "--policies", "solver,unpinned", "--output", "json")
    assert done.status == 0, done.err
    by_policy = {
        policy: [guest for guest in done.json["guests"] if guest["policy"] == policy]
        for policy in ("solver", "unpinned")
    }
    assert [8, 8] == [len(guests) for guests in by_policy.values()]
    assert {4096.0} == {guest["bandwidth_mib_s"] for guest in by_policy["solver"]}
    assert {("any", "any")} == {(guest["cpus"], guest["nodes"]) for guest in by_policy["unpinned"]}
    bound = [line for line in calls.read_text().splitlines() if "--stream" in line][16:]
    assert 8 == sum(line.startswith("any any ") for line in bound)
    table = run("bench", "memory", "--host", FOUR, "--policies", "solver").out
    assert "all together" in table


def test_guests_take_no_more_than_the_share_of_one_node(run: Run, calls: Path) -> None:
    """Even if a policy puts all of them on the smallest."""
    done = run("bench", "memory", "--host", FOUR, "--policies", "unpinned", "--share", "0.1")
    assert done.status == 0, done.err
    lines = [line.split() for line in calls.read_text().splitlines() if line.startswith("any any --stream")]
    total = sum(int(words[words.index("--stream-l3-size") + 1]) * STREAM_PARTS for words in lines)
    assert total <= 0.1 * 4 * 1024**3


def test_a_dry_run_runs_nothing(run: Run, calls: Path) -> None:
    done = run("bench", "memory", "--host", FOUR, "--policies", "solver", "--dry-run")
    assert (0, True) == (done.status, "Then 8 guests at once" in done.err)
    assert not calls.exists()


def test_bad_input(run: Run, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that is none, a tool that fails, and one that is not there: each says what to do."""
    unknown = run("bench", "memory", "--host", FOUR, "--policies", "no-such")
    assert (2, True) == (unknown.status, "no-such" in unknown.err)
    (calls.parent / "bin/stress-ng").write_text("#!/bin/sh\necho set_mempolicy: not permitted\nexit 1\n")
    failed = run("bench", "memory", "--host", FOUR, "--output", "json")
    assert (2, True) == (failed.status, "set_mempolicy: not permitted" in failed.err)
    (calls.parent / "bin/stress-ng").unlink()
    monkeypatch.setenv("PATH", str(calls.parent / "bin"))
    missing = run("bench", "memory", "--host", FOUR)
    assert (2, True) == (missing.status, "apt install stress-ng" in missing.err)


SPEEDS = {
    Pair(cpu_node=NodeId(c), memory_node=NodeId(m)): Speed(bandwidth_mib_s=b * 1024, latency_ns=ns)
    for (c, m), (b, ns) in {(0, 0): (40, 90), (0, 1): (20, 140), (0, 12): (8, 300), (1, 1): (36, 92)}.items()
}


def test_shades_go_from_worst_to_best_whatever_is_better() -> None:
    topology = read_source(FOUR).topology
    bandwidth, latency, _ = matrices(topology, {p: s for p, s in SPEEDS.items() if p.memory_node != 12})
    for matrix in (bandwidth, latency):
        assert (1.0, 0.0) == (matrix.goodness(0, 0), matrix.goodness(0, 1))
        assert matrix.goodness(1, 0) is None
    alike = replace(bandwidth, values=dict.fromkeys(bandwidth.values, 5.0))
    assert alike.goodness(0, 0) is None


def test_the_terminal_gets_what_fits_its_width() -> None:
    matrix = Matrix(title="t", rows=(0, 1), columns=(0, 12), values={(0, 0): 1, (0, 12): 123.0}, more_is_better=True)
    beside = for_terminal([matrix, matrix], width=80).splitlines()
    assert "   0    1   123█      0    1   123█" == beside[2]
    assert "   1    -     -       1    -     -" == beside[3]
    below = for_terminal([matrix, matrix], width=20).splitlines()
    assert max(map(len, below)) <= 20
    assert 9 == len(below)


def test_the_svg_says_each_figure_and_is_whole(run: Run, calls: Path, tmp_path: Path) -> None:
    """Self-contained, well-formed, hostile names escaped."""
    done = run("bench", "memory", "--host", LAB, "--svg", str(tmp_path / "m.svg"))
    assert done.status == 0, done.err
    text = (tmp_path / "m.svg").read_text()
    titles = [node.text for node in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}title")]
    assert 60 == len(titles)
    assert "latency, ns: CPUs of node 0, memory of node 4: 250" in titles
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    matrix = Matrix(title="<&", rows=(0,), columns=(0,), values={(0, 0): 1}, more_is_better=True)
    ElementTree.fromstring(as_svg([matrix], "<script>"))
