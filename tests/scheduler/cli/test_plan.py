"""`numaplace plan`: what it refuses before it plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scheduler.cli.conftest import Run

XML = "<domain type='kvm'>\n<name>{name}</name>\n<title>{who}</title></domain>"
XL = 'name = "{name}"\nkernel = "{who}"\n'
FLEET = """\
schema: 1
guests:
  - {name: db, vcpus: 1, memory: 128MiB, template: base, vars: {who: me}}
  - {name: web, count: 2, vcpus: 1, memory: 128MiB, template: base}
"""


@pytest.mark.parametrize("template", [XML, XL])
def test_a_template_with_an_unknown_variable(run: Run, tmp_path: Path, template: str) -> None:
    """Of one guest only: it names template, line and variable, and nothing is written."""
    (tmp_path / "base").write_text(template)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    refused = run("plan", "fleet.yaml", "--host", "synthetic:node:2 core:4 memory:4GiB", "-o", "plan.json")
    assert (2, False) == (refused.status, (tmp_path / "plan.json").exists())
    assert "base" in refused.err
    assert "{who}" in refused.err
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("template: base}", "template: base, vars: {who: you}}"))
    assert 0 == run("plan", "fleet.yaml", "--host", "synthetic:node:2 core:4 memory:4GiB").status


OBJECTIVE = "placed, soft-wishes + 2*fewest-hosts, balance"


def test_the_objective_can_be_named(run: Run, tmp_path: Path) -> None:
    """Whole or in its last tier; the plan file tells the tiers by the text that the option takes."""
    (tmp_path / "fleet.yaml").write_text(
        "groups: {far: {rule: anti-affinity, hard: false, weight: 3}}\n"
        "guests: [{name: a, count: 2, vcpus: 1, memory: 256MiB, groups: [far]}]\n"
    )
    hosts = [part for i in range(2) for part in ("--host", f"synthetic:node:2 core:4 memory:{4 + i}GiB")]
    plan = run("plan", "fleet.yaml", *hosts, "--objective", OBJECTIVE, "--output", "json").json
    assert OBJECTIVE == ", ".join(tier["name"] for tier in plan["objective"])
    assert [2, 4] == [tier["value"] for tier in plan["objective"]][:2]
    last = run(
        "plan", "fleet.yaml", *hosts, "--packing", "keep-largest", "--flavours", "fleet.yaml", "--output", "json"
    )
    assert "keep-largest" == last.json["objective"][-1]["name"]
    assert "constant" in run("plan", "fleet.yaml", *hosts).out


@pytest.mark.parametrize(
    "options",
    [
        ("--packing", "balance", "--objective", "placed"),
        ("--flavours", "fleet.yaml"),
        ("--objective", "distance"),
        ("--packing", "distance"),
    ],
)
def test_objectives_that_contradict_themselves_are_refused(run: Run, demo: Path, options: tuple[str, ...]) -> None:
    told = run("plan", "fleet.yaml", "--hosts", "hosts.yaml", *options)
    assert (2, "") == (told.status, told.out)


@pytest.mark.parametrize(
    ("answer", "says"),
    [("1 / 0", "mine.py:mine failed: ZeroDivisionError"), ("None", "expected an Answer, got NoneType")],
)
def test_a_policy_of_ones_own_that_fails_is_named(run: Run, tmp_path: Path, answer: str, says: str) -> None:
    """In a line, and without a traceback."""
    (tmp_path / "mine.py").write_text(f"def mine(requests, fleet, effort):\n    return {answer}\n")
    (tmp_path / "fleet.yaml").write_text("guests: [{name: a, vcpus: 1, memory: 256MiB}]\n")
    ended = run("plan", "fleet.yaml", "--host", "synthetic:node:2 core:4 memory:4GiB", "--policy", "mine.py:mine")
    assert 2 == ended.status
    assert says in ended.err
    assert "Traceback" not in ended.err
