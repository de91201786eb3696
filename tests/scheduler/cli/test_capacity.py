"""`numaplace capacity`: how many more of each flavour, with what is promised already taken off."""

from __future__ import annotations

from pathlib import Path

from tests.scheduler.cli.conftest import Run

FLAVOURS = """\
groups: {apart: {rule: anti-affinity}}
guests:
  - {name: small, count: 3, vcpus: 1, memory: 256MiB, overhead: 0MiB, groups: [apart]}
  - {name: other, vcpus: 1, memory: 256MiB, overhead: 0MiB, lifetime: 2h}
  - {name: wide, vcpus: 4, memory: 1GiB, cells: 2, overhead: 0MiB}
  - {name: paged, vcpus: 1, memory: 256MiB, page_size: 2MiB, overhead: 0MiB}
"""
HOST = "synthetic:node:2 core:4 memory:2GiB"


def test_each_flavour_by_itself(run: Run, tmp_path: Path) -> None:
    """How often an entry stands in the file, its groups, and how long it stays, do not matter."""
    (tmp_path / "flavours.yaml").write_text(FLAVOURS)
    (tmp_path / "hosts.yaml").write_text(f"hosts:\n  h1: {{sources: ['{HOST}'], reserve: 0MiB}}\n")
    told = run("capacity", "--flavours", "flavours.yaml")
    assert 0 == told.status
    assert [["h1", "8", "2", "0"], ["all", "8", "2", "0"]] == [line.split()[:4] for line in told.out.splitlines()[1:]]
    document = run("capacity", "--flavours", "flavours.yaml", "--output", "json").json
    assert {"small": 8, "wide": 2, "paged": 0} == {f: n["count"] for f, n in document["fleet"].items()}
    assert document["fleet"] == document["hosts"][0]["fits"]


def test_what_is_promised_is_taken_off(run: Run, demo: Path) -> None:
    """The demo's fleet once it is applied leaves room for fewer."""
    before = run("capacity", "--flavours", "fleet.yaml", "--hosts", "hosts.yaml", "--output", "json").json["fleet"]
    assert 3 == run("plan", "fleet.yaml", "--hosts", "hosts.yaml", "-o", "plan.json").status
    assert 3 == run("apply", "plan.json", "--hosts", "hosts.yaml").status
    after = run("capacity", "--flavours", "fleet.yaml", "--hosts", "hosts.yaml", "--output", "json").json["fleet"]
    assert all(after[flavour]["count"] <= before[flavour]["count"] for flavour in before)
    assert after["web"]["count"] < before["web"]["count"]
