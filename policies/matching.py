"""Whether each cell of a guest finds a node of its own, and where not, which cells are too many for which nodes.

Nodes are numbers from 0; a set of them is an int with their bits set. Sources: augmenting paths, Berge
(1957); cells that are too many for their nodes exist wherever there is no matching, Hall (1935).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Cells that are one more than the nodes that hold any of them; so no choice of nodes holds all."""

    cells: tuple[int, ...]
    nodes: tuple[int, ...]


def bits(numbers: Iterable[int]) -> int:
    """The set of these numbers."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found


def members(numbers: int) -> Iterator[int]:
    """The numbers in a set, ascending."""
    while numbers:
        lowest = numbers & -numbers
        yield lowest.bit_length() - 1
        numbers ^= lowest


def match(able: Sequence[int]) -> tuple[int, ...] | Shortage:
    """A node for each cell, no two the same, `able` having the set of nodes that hold the cell; or why not.

    Takes O(cells² × nodes), whatever the number of permutations.
    """
    cell_on: dict[int, int] = {}
    for cell in range(len(able)):
        if (short := _seat(cell, able, cell_on)) is not None:
            return short
    node_of = {cell: node for node, cell in cell_on.items()}
    return tuple(node_of[cell] for cell in range(len(able)))


def match_on_nodes(able: Sequence[int], node_of: Sequence[int]) -> tuple[int, ...] | Shortage:
    """As `match`, where `able` has sets of places, and no node has two cells, whatever its places.

    Args:
        node_of: the node of each place, as the answer tells it.
    """
    nodes = {places: bits({node_of[place] for place in members(places)}) for places in set(able)}
    return match([nodes[places] for places in able])


def _seat(cell: int, able: Sequence[int], cell_on: dict[int, int]) -> Shortage | None:
    """Give the cell a node, others moving along the shortest alternating path; or what was reached in vain."""
    reached_from: dict[int, int] = {}
    seen, waiting = 0, [cell]
    for asking in waiting:
        for node in members(able[asking] & ~seen):
            seen |= 1 << node
            reached_from[node] = asking
            if node not in cell_on:
                _move(node, cell, reached_from, cell_on)
                return None
            waiting.append(cell_on[node])
    return Shortage(cells=tuple(sorted(waiting)), nodes=tuple(members(seen)))


def _move(node: int, cell: int, reached_from: dict[int, int], cell_on: dict[int, int]) -> None:
    """Along the path back to `cell`, each cell takes the node that it reached and leaves its own to the one before."""
    node_of = {other: own for own, other in cell_on.items()}
    while True:
        mover = reached_from[node]
        cell_on[node] = mover
        if mover == cell:
            return
        node = node_of[mover]
