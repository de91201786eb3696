"""Guests go from where it is full to where it is empty, or the other way: the quick way for terms that look at nodes.

One step after the other, each the best of some: from the fullest nodes and the emptiest that anybody is on, to the
hosts of the emptiest and of the fullest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from policies.rebalance.walk import Move, Value
from policies.rebalance.worth import OF_NODES

if TYPE_CHECKING:
    from policies.rebalance.room import Room

MOST_NODES = 6
"""Of the fullest, and of the emptiest, that are looked at for each step."""


def even_out(room: Room) -> None:
    """Take steps, as long as each makes the objective better; nothing where it does not look at nodes."""
    if not OF_NODES & {*room.model.question.objective.terms}:
        return
    while room.lasts():
        before: Value = room.walk.value
        best: tuple[Value, int, Move] | None = None
        for move in _moves(room):
            if not room.lasts():
                break
            start = len(room.moves)
            if room.go(move) and room.walk.value < before and (best is None or room.walk.value < best[0]):
                best = room.walk.value, move.way.kib, move
            room.back_to(start)
        if best is None or not room.go(best[2]):
            return


def _moves(room: Room) -> Iterator[Move]:
    """Of one guest of each class and place."""
    model, walk = room.model, room.walk
    ranked = sorted(range(len(model.fleet.node_host)), key=walk.loads.fullness)
    busy = [row for row in ranked if walk.loads.fullness(row) > 0]
    sources = dict.fromkeys(int(model.fleet.node_host[row]) for row in (*busy[-MOST_NODES:][::-1], *busy[:MOST_NODES]))
    targets = dict.fromkeys(
        int(model.fleet.node_host[row]) for row in (*ranked[:MOST_NODES], *busy[-MOST_NODES:][::-1])
    )
    for source in sources:
        for number, origin in [*walk.on_host(source)]:
            for target in targets:
                for way in model.standing[number].ways_to(origin, target):
                    yield Move(number, origin, way)
