"""The built-in scenario `traps`: others fall into each, and ours into none."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks.scenarios import load_scenario
from policies.check import violations
from policies.fleet import Fleet
from policies.plan import Decision, Placement
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import GuestRequest
from probe.cpuset import NodeSet

EFFORT = Effort(time_limit_s=None, deterministic_limit=2.0)


@cache
def answers(policy: str) -> dict[str, tuple[GuestRequest, Decision]]:
    play = load_scenario("traps").play(1)
    (event,) = play.events()
    decisions = load_policy(policy)(event.arrivals, play.fleet, EFFORT).decisions
    return {guest.name: (guest, decision) for guest, decision in zip(event.arrivals, decisions, strict=True)}


def fleet() -> Fleet:
    return load_scenario("traps").play(1).fleet


def broken(policy: str, guest: str) -> set[str]:
    """The rules that the answer for this guest alone breaks; empty where it is refused."""
    request, decision = answers(policy)[guest]
    return {v.rule for v in violations([decision], [request], fleet())}


def nodes(policy: str, guest: str) -> NodeSet | None:
    """Where its vCPUs may run; None where it is bound to nothing. It has a place."""
    decision = answers(policy)[guest][1]
    assert isinstance(decision, Placement)
    return decision.cpu_nodes


def test_ours_falls_into_none() -> None:
    """Two guests cannot have a place: no split of `halves` fits, and `full` leaves no headroom. All others have one."""
    everybody = answers("solver")
    requests, decisions = zip(*everybody.values(), strict=True)
    assert not violations(decisions, requests, fleet())
    assert {"halves", "full"} == {name for name, (_, d) in everybody.items() if not isinstance(d, Placement)}


@pytest.mark.parametrize(
    ("policy", "guest"),
    [
        ("libxl", "halves"),
        ("xenopsd", "halves"),
        ("numad", "mixed"),
        ("nova-pack", "full"),
        ("nova-spread", "full"),
        ("kubelet-best-effort", "uneven"),
    ],
)
def test_a_placement_of_theirs_breaks_a_rule(policy: str, guest: str) -> None:
    """Memory is promised that is not there."""
    assert "no_node_promises_more_memory_than_it_has" in broken(policy, guest)
    assert not broken("solver", guest)


@pytest.mark.parametrize(
    ("policy", "guest"),
    [
        ("kubelet-closest", "nine-1"),
        ("nova-pack", "larger"),
        ("nova-spread", "larger"),
        ("kubelet-restricted", "small"),
        ("kubelet-single-numa-node", "large"),
    ],
)
def test_they_refuse_whom_ours_places(policy: str, guest: str) -> None:
    """Too many nodes for the kubelet; pushed to the node without devices; tied to the large guest's nodes."""
    assert not isinstance(answers(policy)[guest][1], Placement)
    assert isinstance(answers("solver")[guest][1], Placement)


def test_libxl_binds_nobody_on_more_than_sixteen_nodes() -> None:
    assert nodes("libxl", "wide-1") is None
    assert 1 == len(nodes("solver", "wide-1") or ())
