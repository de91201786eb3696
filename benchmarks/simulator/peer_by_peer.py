"""A peer, asked guest by guest: it sees what is left, and remembers who it has bound where."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.simulator.checked import incomplete
from benchmarks.simulator.deciding import Decided, InABook
from benchmarks.simulator.loose import Loose
from benchmarks.simulator.options import Options
from policies.fleet import Fleet
from policies.one_by_one import in_order
from policies.peers.peer import Peer
from policies.peers.seen import SeenHost
from policies.plan import Placement, Reason
from policies.request import GuestName, GuestRequest


class GuestByGuest(InABook):
    """Asked with a batch alone, a peer would not know which nodes are bound together, or chosen already, for those who
    came before: some choose by that. All that it answers is looked at.
    """

    def __init__(self, peer: Peer, fleet: Fleet, seed: int, options: Options) -> None:
        super().__init__(fleet, seed, options)
        self._peer = peer
        self._seen = [SeenHost(host) for host in fleet]

    def decide(self, requests: Sequence[GuestRequest], at_s: float, *, look: bool) -> Decided:
        placed: dict[GuestName, Placement] = {}
        refused: dict[GuestName, Reason] = {}
        broken: dict[GuestName, str] = {}
        took_s = 0.0
        for request in in_order(requests):
            began = time.perf_counter()
            decision, _ = self._peer.decide_one(request, self._seen)
            took_s += time.perf_counter() - began
            if not isinstance(decision, Placement):
                refused[request.name] = decision.reason
                continue
            if found := self.breach(request, decision):
                broken[request.name] = found
            else:
                self.put_back(request, decision, at_s)
                placed[request.name] = decision
        for guest, why in incomplete([*placed.values()], requests, {}).items():
            self.take_away(placed.pop(guest))
            broken[guest] = why
        there = [placed[request.name] for request in requests if request.name in placed]
        return Decided(placed=there, refused=refused, broken=broken, took_s=took_s)

    def put_back(self, request: GuestRequest, placement: Placement, came_s: float, loose: Loose | None = None) -> None:
        super().put_back(request, placement, came_s, loose)
        self._look_again(self.world.fleet.host_index(placement.host))

    def take_away(self, placement: Placement) -> None:
        super().take_away(placement)
        self._look_again(self.world.fleet.host_index(placement.host))

    def _look_again(self, index: int) -> None:
        """What is left is the same for every policy; who is bound where, the peer has seen itself."""
        remembered = SeenHost(self.world.fleet.hosts[index])
        for placement in self.world.guests_on[index].values():
            remembered.take(placement)
        seen = SeenHost(self.world.host_left(index))
        seen.guests, seen.groups, seen.runnable = remembered.guests, remembered.groups, remembered.runnable
        seen.allocatable_kib = remembered.allocatable_kib
        self._seen[index] = seen
