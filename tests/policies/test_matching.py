"""A node of its own for each cell: as trying all permutations says, and where there is none, why."""

from __future__ import annotations

import itertools

from hypothesis import given, settings, strategies as st

from policies.matching import Shortage, bits, match, members

able_sets = st.lists(st.integers(0, 31), min_size=1, max_size=5)
"""For each of up to five cells, which of five nodes hold it, as bits."""


@given(able=able_sets)
@settings(max_examples=500)
def test_a_matching_is_found_exactly_where_a_permutation_fits(able: list[int]) -> None:
    found = match(able)
    fits = any(
        all(nodes >> node & 1 for nodes, node in zip(able, way, strict=True))
        for way in itertools.permutations(range(5), len(able))
    )
    assert isinstance(found, Shortage) != fits
    if not isinstance(found, Shortage):
        assert len(set(found)) == len(able)
        assert all(nodes >> node & 1 for nodes, node in zip(able, found, strict=True))


@given(able=able_sets)
@settings(max_examples=500)
def test_cells_that_are_too_many_have_just_these_nodes(able: list[int]) -> None:
    """One cell more than nodes (Hall), so dropping any of the cells leaves enough."""
    found = match(able)
    if isinstance(found, Shortage):
        held = set().union(*(members(able[cell]) for cell in found.cells))
        assert held == set(found.nodes)
        assert len(found.cells) == len(found.nodes) + 1
        for cell in found.cells:
            rest = [able[other] for other in found.cells if other != cell]
            assert not rest or not isinstance(match(rest), Shortage)


def test_of_a_thousand_nodes_any_ids_do() -> None:
    able = [bits([1023, 7]), bits([7]), bits([1023, 7])]
    assert match(able) == Shortage(cells=(0, 1, 2), nodes=(7, 1023))
    assert match([bits(range(1024))] * 600) != match([bits(range(1024))] * 599)
