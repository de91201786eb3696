"""The comparison with the peers counts what is sound, and says so where another is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks import peers
from benchmarks.command import bench
from policies.check import violations
from policies.compose import make_unpinned
from policies.fleet import Fleet
from policies.greedy import first_fit
from policies.plan import Answer, Placement, Reason, Rejection
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import GuestRequest
from tests.policies.hosts import host_of
from tests.policies.test_peers import uneven
from tests.policies.test_policies import ask

TINY = [ask("a", 2), ask("b", 2), ask("c", 2)], Fleet.of([host_of("h", cpus=4)])


def worse(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
    """All but the last guest of what first-fit places."""
    answer = first_fit(requests, fleet, effort)
    gone = Rejection(guest=requests[-1].name, reason=Reason.HOST, detail="left out")
    return replace(answer, decisions=(*answer.decisions[:-1], gone))


def test_a_batch_has_a_row_for_each_policy() -> None:
    """Ours is first, and nobody is better."""
    rows = peers.compare("tiny", *TINY, {"solver": load_policy("solver"), "worse": worse})
    assert [("solver", 3, 3), ("worse", 2, 2)] == [(r["policy"], r["placed"], r["nodes"]) for r in rows]
    assert all(r["missed"] == [] for r in rows)


def test_a_better_peer_makes_it_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that places a guest more than what stands for our solver."""
    rows = peers.compare("tiny", *TINY, {"solver": worse, "better": first_fit})
    assert [[], ["places more"]] == [r["missed"] for r in rows]
    monkeypatch.setattr(peers, "measure_peers", lambda: [rows])
    ended = CliRunner().invoke(bench, ["peers"], standalone_mode=False)
    assert 1 == ended.return_value
    assert "places more" in " ".join(ended.output.split())


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, []),
        ({"nodes": 5}, ["spans fewer nodes"]),
        ({"distance": 0.5}, ["is nearer"]),
        ({"placed": 4, "nodes": 1, "distance": 0.0}, []),
        ({"placed": 6, "nodes": 9, "distance": 9.0}, ["places more"]),
    ],
)
def test_guests_count_first(other: dict[str, float], expected: list[str]) -> None:
    """Nodes and distance are compared where as many are placed."""
    ours = {"placed": 5, "nodes": 6, "distance": 1.0}
    assert expected == peers.missed(ours, {**ours, **other})


def test_what_breaks_a_rule_does_not_count() -> None:
    """numad books nothing: two guests of four vCPUs share the four pCPUs of one node, and one is kept."""
    requests = [ask(f"g{n}", 4) for n in range(2)]
    fleet = Fleet.of([uneven("h", [64, 8], cpus=4)])
    decisions = load_policy("numad")(requests, fleet, peers.EFFORT).decisions
    assert violations(decisions, requests, fleet)
    sound = peers.sound_part(decisions, requests, fleet)
    assert () == violations(sound, requests, fleet)
    assert 1 == sum(isinstance(d, Placement) for d in sound)
    row = peers.row_of(load_policy("numad"), requests, fleet)
    assert (1, 1) == (row["placed"], row["dropped"])


def test_a_scenario_repeats_and_overflows() -> None:
    """The same seed, the same guests; more vCPUs than pCPUs; equal priorities."""
    for shape in peers.SHAPES.values():
        requests, fleet = peers.scenario(shape, 1)
        assert requests == peers.scenario(shape, 1)[0]
        assert sum(r.vcpus for r in requests) > fleet.free_cpus.sum()
        assert {1} == {r.priority for r in requests}


def test_who_is_bound_to_nothing_has_not_got_few_nodes() -> None:
    """It may use both nodes of the host: it counts where it may span two."""
    requests = [ask("a", 2, max_nodes=1), ask("b", 2, max_nodes=2)]
    row = peers.row_of(unbound, requests, TINY[1])
    assert (2, 1, 1, 2) == tuple(row[key] for key in ("guests", "placed", "dropped", "nodes"))


def unbound(requests: Sequence[GuestRequest], fleet: Fleet, effort: Effort, /) -> Answer:
    """Everybody on the first host, bound to nothing."""
    return Answer(decisions=tuple(make_unpinned(request, fleet.hosts[0]) for request in requests))
