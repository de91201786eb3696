"""A scenario that is being played: what happens at each event, and what is counted."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from benchmarks.events import Event, Play
from benchmarks.rows import Row
from benchmarks.simulator.deciders import decider_of
from benchmarks.simulator.deciding import Decided, Decider
from benchmarks.simulator.durations import Durations
from benchmarks.simulator.guest import shares_a_core, splits_l3, spread_of
from benchmarks.simulator.hardware import hardware_of
from benchmarks.simulator.options import Options
from benchmarks.simulator.rebalancing import rebalance_some
from benchmarks.simulator.regret import most_placed_in, regret_of
from benchmarks.simulator.series import Series, of_neighbours
from benchmarks.simulator.state import GIB_KIB, FleetState
from benchmarks.simulator.tally import Means, Tally
from benchmarks.simulator.versions import versions
from benchmarks.simulator.world import World
from policies.plan import Placement, Tier
from policies.plan_json import decision_from_json, decision_to_json
from policies.plan_reader import Reader
from policies.registry import is_in_a_file
from policies.request import GuestName
from probe.errors import BadInputError, NumaplaceError

MOST_BOUNDS = 100
_BOUNDS: dict[tuple[str, int, float], int] = {}


class Scenario(Protocol):
    """Hosts, guests and events of a name; `benchmarks.scenarios` has them."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def play(self, seed: int) -> Play: ...


class Run:
    """A scenario that is being played.

    Attributes:
        done: events so far.
    """

    def __init__(self, scenario: Scenario, policy: str, seed: int, options: Options) -> None:
        self._began = time.perf_counter()
        self._scenario, self._policy, self._seed, self._options = scenario, policy, seed, options
        self.play = scenario.play(seed)
        self._decider: Decider = decider_of(policy, self.play.fleet, self.play.flavours, seed, options)
        self._state = FleetState(self.world, self.play.flavours)
        self._every = options.every(self.play.count)
        self._tally, self._means, self._series, self._took = Tally(), Means(), Series(), Durations()
        self.done, self._at_s = 0, 0.0
        self._before_s, self._before_mib = 0.0, 0.0

    @property
    def world(self) -> World:
        """Who is there, and what is left."""
        return self._decider.world

    def step(self, event: Event) -> None:
        """Play the next event."""
        self._at_s = event.at_s
        for guest in event.departures:
            self._goes(guest)
        self.done += 1
        sampled = self.done % self._every == 0
        if event.arrivals:
            self._count(self._decided(event, look=sampled))
        every = self._options.rebalance_every
        if every is not None and self.done % every == 0:
            self._rebalance(self.done // every - 1)
        if sampled:
            self._sample()

    def row(self) -> Row:
        """When all is played."""
        if self.done % self._every or not self.done:
            self._sample()
        self._means.until(self._at_s)
        regret = {"regret": regret_of(self._bound(), self._tally.placed)} if self._options.regret else {}
        room = {f"room[{name}]": float(count) for name, count in self._state.room().items()}
        metrics = {
            **self._tally.metrics(self._took),
            **self._means.means(),
            **regret,
            **room,
            "sample_every": self._every,
            "wall_s": self._wall_s(),
            "peak_mib": self._peak_mib(),
        }
        return Row(
            scenario=self._scenario.name,
            policy=self._policy,
            seed=self._seed,
            digest=self._scenario.digest,
            metrics=metrics,
            series=self._series.columns(),
            distances=self._tally.whole_distances(),
            options=self._options.told(),
            limited_by_clock=self._tally.limited_by_clock,
            versions=versions(),
            command=f"numaplace bench run {self._scenario.name} --policy {self._policy} --seeds {self._seed}",
        )

    def _decided(self, event: Event, *, look: bool) -> Decided:
        try:
            return self._decider.decide(event.arrivals, event.at_s, look=look)
        except NumaplaceError:
            raise
        except Exception as error:
            if not is_in_a_file(self._policy):
                raise
            raise BadInputError(f"policy {self._policy} failed at event {self.done}: {error!r}.") from error

    def _rebalance(self, turn: int) -> None:
        moved = rebalance_some(self._decider, turn, self._options)
        self._tally.migrations += moved.migrations
        self._tally.moved_kib += moved.kib
        self._tally.limited_by_clock |= self._options.time_limit_s is not None

    def about(self) -> dict[str, Any]:
        """What must be the same where a run goes on."""
        return {
            "scenario": self._scenario.name,
            "digest": self._scenario.digest,
            "policy": content_of(self._policy),
            "seed": self._seed,
            "options": self._options.told(),
            "versions": {name: told for name, told in versions().items() if name != "day"},
        }

    def to_json(self) -> dict[str, Any]:
        """What `go_on` needs; who asked for what, the events tell again."""
        there = [
            {"placement": decision_to_json(placement), "loose": None if loose is None else loose.to_json()}
            for placement, loose in self.world.everybody()
        ]
        return {
            "about": self.about(),
            "done": self.done,
            "at_s": self._at_s,
            "there": there,
            "tally": self._tally.to_json(),
            "means": self._means.to_json(),
            "series": self._series.to_json(),
            "took": self._took.counts,
            "wall_s": self._wall_s(),
            "peak_mib": self._peak_mib(),
        }

    def go_on(self, kept: Mapping[str, Any], events: Iterator[Event], *, origin: str) -> None:
        """Be as the run was of which this is kept; the events played then are read past.

        Raises:
            BadInputError: it is not what `to_json` gives.
        """
        try:
            self._tally = Tally.from_json(kept["tally"])
            self._means, self._series = Means(**kept["means"]), Series.from_json(kept["series"])
            self._took = Durations(kept["took"])
            self.done, self._at_s = int(kept["done"]), float(kept["at_s"])
            self._before_s, self._before_mib = float(kept["wall_s"]), float(kept["peak_mib"])
            self._put_back(kept["there"], islice(events, self.done), origin)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInputError(f"{origin}: not a checkpoint of ours: {error!r}.") from error

    def _put_back(self, there: Sequence[Mapping[str, Any]], played: Iterator[Event], origin: str) -> None:
        readers = (Reader.of(each["placement"], origin) for each in there)
        decisions = {decision.guest: decision for decision in map(decision_from_json, readers)}
        came = {g.name: (g, event.at_s) for event in played for g in event.arrivals if g.name in decisions}
        for decision, each in zip(decisions.values(), there, strict=True):
            if not isinstance(decision, Placement):
                raise BadInputError(f"{origin}: guest {decision.guest} has no place.")
            told = each["loose"]
            loose = None if told is None else self.world.loose_from_json(told, decision.host)
            self._decider.put_back(came[decision.guest][0], decision, came[decision.guest][1], loose)

    def _wall_s(self) -> float:
        return self._before_s + time.perf_counter() - self._began

    def _peak_mib(self) -> float:
        return max(self._before_mib, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    def _bound(self) -> int:
        """Worked out once for all policies in one process."""
        about = self._scenario.digest, self._seed, self._options.deterministic_limit
        if about not in _BOUNDS:
            if len(_BOUNDS) >= MOST_BOUNDS:
                _BOUNDS.clear()
            _BOUNDS[about] = most_placed_in(self.play, replace(self._options.effort(self._seed), time_limit_s=None))
        return _BOUNDS[about]

    def _goes(self, guest: GuestName) -> None:
        placement = self.world.placement_of(guest)
        if placement is not None:
            self._decider.take_away(placement)

    def _count(self, decided: Decided) -> None:
        tally = self._tally
        for placement in decided.placed:
            self._count_placed(placement)
        for reason in decided.refused.values():
            tally.refused[reason.value] += 1
        tally.broken += len(decided.broken)
        self._took.add(decided.took_s)
        tally.limited_by_clock |= decided.limited_by_clock
        if decided.tier is not None and (gap := gap_of(decided.tier)) is not None:
            tally.gap = max(tally.gap or 0.0, gap)

    def _count_placed(self, placement: Placement) -> None:
        world = self.world
        hardware = hardware_of(world.fleet.host(placement.host).topology)
        self._tally.came(spread_of(placement, hardware, world.loose_of(placement.guest)), hardware)
        if placement.dedicated:
            self._tally.l3_split += splits_l3(placement, hardware)
            self._tally.smt_shared += shares_a_core(placement, hardware, world.idle_cpus(placement.host))

    def _sample(self) -> None:
        stranded = self._state.stranded()
        values = {
            "empty_hosts": float(self._state.empty_hosts()),
            "stranded_cpus": float(stranded.vcpus),
            "stranded_gib": stranded.kib / GIB_KIB,
        }
        self._means.add(self._at_s, values)
        self._series.add(
            at_s=self._at_s,
            refused=self._tally.refused.total(),
            placed=self._tally.placed,
            here=len(self.world),
            node_load=of_neighbours(self._state.loads()),
        )


def gap_of(tier: Tier) -> float | None:
    """(bound − placed) ÷ max(1, placed), both by the policy's own answer; None where it tells no bound."""
    return None if tier.bound is None else max(0, tier.bound - tier.value) / max(1, tier.value)


def content_of(policy: str) -> str:
    """A policy's name; of one in a file its own name and a hash of the file, wherever that is."""
    if not is_in_a_file(policy):
        return policy
    path, _, name = policy.rpartition(":")
    return f"{sha256(Path(path).read_bytes()).hexdigest()}:{name}"
