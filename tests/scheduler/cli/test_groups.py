"""Groups from the fleet file to the books: members of earlier plans count, reachable or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.scheduler.cli.conftest import Run

HOSTS = {
    "h1": {"sources": ["sim:h1.sim"], "rack": "r1", "fault_domains": {"power": "a"}},
    "h2": {"sources": ["sim:h2.sim"], "rack": "r1", "fault_domains": {"power": "b"}},
    "h3": {"sources": ["sim:h3.sim"], "rack": "r2", "fault_domains": {"power": "a"}},
}
SIZE = {"vcpus": 1, "memory": "128MiB"}


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    """Three hosts in two racks and on two power lines."""
    for name in HOSTS:
        source = "synthetic:node:2 core:4 memory:4GiB"
        assert run("sim", "create", f"{name}.sim", "--from", source, "--name", name).status == 0
    (tmp_path / "hosts.yaml").write_text(yaml.safe_dump({"hosts": HOSTS}))
    return tmp_path


def fleet(folder: Path, groups: dict[str, object], *guests: dict[str, object]) -> None:
    document = {"groups": groups, "guests": [{**SIZE, **guest} for guest in guests]}
    (folder / "fleet.yaml").write_text(yaml.safe_dump(document))


def planned(run: Run, *words: str) -> dict[str, str]:
    """Guest to host, "" for none."""
    document = run("plan", "fleet.yaml", "-o", "plan.json", "--output", "json", *words).json
    return {d["guest"]: d.get("host", "") for d in document["decisions"]}


def applied(run: Run) -> int:
    return run("apply", "plan.json").status


def test_members_of_an_earlier_plan_count(run: Run, folder: Path) -> None:
    """Their groups are in the books: another fleet file that knows the group keeps away from them."""
    apart = {"db": {"rule": "anti-affinity", "level": "rack"}}
    fleet(folder, apart, {"name": "one", "groups": ["db"], "hosts": ["h1"]})
    assert ({"one": "h1"}, 0) == (planned(run), applied(run))
    fleet(folder, apart, {"name": "two", "groups": ["db"]}, {"name": "three", "groups": ["db"]})
    found = planned(run)
    assert ["", "h3"] == sorted(found.values())
    assert "groups: without db" in run("plan", "fleet.yaml").out


def test_a_host_that_is_gone_keeps_its_rack(run: Run, folder: Path) -> None:
    """Its members are somewhere, whether anybody reaches it or not."""
    apart = {"db": {"rule": "anti-affinity", "level": "rack"}}
    fleet(folder, apart, {"name": "one", "groups": ["db"], "hosts": ["h1"]})
    assert ({"one": "h1"}, 0) == (planned(run), applied(run))
    (folder / "h1.sim").rename(folder / "away.sim")
    fleet(folder, apart, {"name": "two", "groups": ["db"], "hosts": ["h2"]})
    refused = run("plan", "fleet.yaml")
    assert "no place (group)" in refused.out
    assert "rack r1" in refused.out


def test_groups_that_were_added_later(run: Run, folder: Path) -> None:
    """A guest that has a home is a member by what its fleet file says now."""
    fleet(folder, {}, {"name": "one", "hosts": ["h1"]})
    assert ({"one": "h1"}, 0) == (planned(run), applied(run))
    together = {"pair": {"rule": "affinity", "level": "power"}}
    fleet(
        folder,
        together,
        {"name": "one", "groups": ["pair"]},
        {"name": "two", "groups": ["pair"], "hosts": ["h2", "h3"]},
    )
    assert {"one": "h1", "two": "h3"} == planned(run)


def test_parts_of_a_group(run: Run, folder: Path) -> None:
    """A mapping names the part."""
    shards = {"shard": {"rule": "fault-domains", "level": "rack"}}
    guests = [{"name": name, "groups": {"shard": name[0]}} for name in ("a1", "a2", "b1")]
    fleet(folder, shards, *guests)
    found = planned(run)
    racks = {(HOSTS[host]["rack"], name[0]) for name, host in found.items()}
    assert (2, {"a", "b"}) == (len(racks), {part for _, part in racks})


@pytest.mark.parametrize(
    ("groups", "guest", "complaint"),
    [
        ({}, {"groups": ["db"]}, "no group is called 'db'"),
        ({"db": {"rule": "apart"}}, {"groups": ["db"]}, "groups.db.rule"),
        ({"db": {"rule": "fault-domains"}}, {"groups": ["db"]}, "needs the name of a part"),
        ({"db": {"rule": "affinity", "level": "rak"}}, {"groups": ["db"]}, "level 'rak' is none of"),
    ],
)
def test_a_group_that_means_nothing(
    run: Run, folder: Path, groups: dict[str, object], guest: dict[str, object], complaint: str
) -> None:
    """It is named, and nothing is planned."""
    fleet(folder, groups, {"name": "one", **guest})
    refused = run("plan", "fleet.yaml")
    assert refused.status == 2
    assert complaint in refused.err


def test_an_edited_plan_that_puts_members_together(run: Run, folder: Path) -> None:
    """`apply` sees it, also where the other member is in the books only."""
    apart = {"db": {"rule": "anti-affinity", "level": "host"}}
    fleet(folder, apart, {"name": "one", "groups": ["db"], "hosts": ["h1"]})
    assert ({"one": "h1"}, 0) == (planned(run), applied(run))
    fleet(folder, apart, {"name": "two", "groups": ["db"], "hosts": ["h1", "h2"]})
    assert {"two": "h2"} == planned(run)
    document = json.loads((folder / "plan.json").read_text())
    document["decisions"][0]["host"] = "h1"
    (folder / "plan.json").write_text(json.dumps(document))
    refused = run("apply", "plan.json")
    assert refused.status == 2
    assert "members_with_anti_affinity_share_no_domain" in refused.err
