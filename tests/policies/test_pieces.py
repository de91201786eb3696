"""The answer by patterns is the same, byte for byte, wherever its pieces are answered."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from benchmarks.as_requests import fleet_of, requests_of
from policies.patterns import pieces
from policies.patterns.pieces import Piece, Stock
from policies.patterns.place import Placed, place
from policies.patterns.question import Batch, Supply
from policies.patterns.terms import Terms
from policies.patterns.ways import ways_of
from policies.policy import Effort
from policies.solver.large import place_large
from policies.spread import here
from tests.policies.small_fleets import small_fleet
from tests.policies.test_patterns import batches, supplies


def same(one: Placed, other: Placed) -> bool:
    """Every byte of both."""
    figures = [(p.value, p.bound, p.spanned, p.hosts, p.kept, p.packing, p.packing_bound) for p in (one, other)]
    homes = [(p.homes.rows.tobytes(), p.homes.form.tobytes()) for p in (one, other)]
    return figures[0] == figures[1] and homes[0] == homes[1]


class Elsewhere:
    """As far away as can be in one process: in another order, and nothing but what can be carried.

    Attributes:
        asked: names of the functions.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any], /) -> list[Any]:
        self.asked += [function.__name__] * len(items)
        carried = pickle.loads(pickle.dumps([*reversed(items)]))  # noqa: S301
        return [pickle.loads(pickle.dumps(function(item))) for item in carried][::-1]  # noqa: S301


@contextmanager
def all_is_spread() -> Iterator[None]:
    """Also what is too small to be worth it; and pieces are small."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(pieces, "FEWEST_SPREAD", 1)
        changed.setattr(pieces, "HEAVY_STATES", 1)
        changed.setattr(pieces, "MOST_HOSTS", 17)
        yield


@settings(max_examples=30)
@given(supply=supplies(), batch=batches(), seed=st.integers(0, 9))
def test_any_question_has_the_same_answer_elsewhere(supply: Supply, batch: Batch, seed: int) -> None:
    """Groups, huge pages, overhead, weights, the fewest hosts: nothing depends on where pieces are answered."""
    with all_is_spread():
        assert same(place(supply, batch, seed=seed), place(supply, batch, seed=seed, spread=Elsewhere()))


@pytest.mark.parametrize("demand", [0.5, 1.3])
def test_a_fleet_has_the_same_answer_elsewhere(demand: float) -> None:
    """Where all find a place and where not: prices, patterns and bounds of many pieces are asked for, in any order."""
    supply, batch = small_fleet(150, demand=demand)
    elsewhere = Elsewhere()
    with all_is_spread():
        assert same(place(supply, batch), place(supply, batch, spread=elsewhere))
    assert {"filled", "priced"} | ({"worth"} if demand > 1 else set()) == set(elsewhere.asked)


def test_what_is_small_is_answered_here() -> None:
    """To carry it away would take longer."""
    elsewhere = Elsewhere()
    place(*small_fleet(100), spread=elsewhere)
    assert [] == elsewhere.asked


def test_a_plan_of_the_solver_is_the_same_too() -> None:
    """The policy's effort says where; decisions and bounds do not depend on it."""
    supply, batch = small_fleet(20)
    requests, fleet = requests_of(batch), fleet_of(supply)
    elsewhere = Elsewhere()
    efforts = [Effort(time_limit_s=None, deterministic_limit=0.01, spread=spread) for spread in (here, elsewhere)]
    with all_is_spread():
        one, other = (place_large(requests, fleet, effort) for effort in efforts)
    assert one == other
    assert elsewhere.asked
    assert efforts[0] == efforts[1]


def test_a_stock_of_some_hosts_has_their_rows() -> None:
    """Hosts in any order, of 1 to 8 nodes: the part asks about the very amounts that the whole has there."""
    supply, batch = small_fleet(60)
    amounts = supply.amounts()
    whole = Stock(
        terms=terms_of(supply, batch), amounts=amounts, first_row=supply.first_row, costs=np.arange(supply.hosts)
    )
    hosts = np.array([7, 3, 59, 0, 31])
    some = whole.of(hosts)
    rows = [row for host in hosts for row in range(supply.first_row[host], supply.first_row[host + 1])]
    assert rows == whole.rows(hosts).tolist()
    assert (some.amounts == amounts[:, rows]).all()
    assert [7, 3, 59, 0, 31] == some.costs.tolist()
    assert len(rows) == some.first_row[-1]


def terms_of(supply: Supply, batch: Batch) -> Terms:
    ways = ways_of(batch.flavours, supply.pages_kib)
    return Terms.of(batch, supply, ways)


def test_widths_of_a_stock_add_up_to_all_of_it() -> None:
    """Units of one width after the other are worth what all are worth together."""
    supply, batch = small_fleet(60)
    terms = terms_of(supply, batch)
    stock = Stock(
        terms=terms, amounts=supply.amounts(), first_row=supply.first_row, costs=np.zeros(supply.hosts, dtype=np.int64)
    )
    for by_pairs in (False, True):
        asked = {"stock": stock, "values": np.full(len(terms.ways), 1 << 20), "by_pairs": by_pairs}
        widths = stock.market(by_pairs=by_pairs).widths
        assert widths == ([1, 2] if by_pairs else [1, 2, 3, 4])
        assert pieces.worth(Piece(**asked)) == sum(pieces.worth(Piece(**asked, width=width)) for width in widths)


def test_the_token_of_a_stock_tells_what_is_in_it() -> None:
    """Equal after a journey; other amounts, costs or hosts are another stock, of another market."""
    supply, batch = small_fleet(20)
    costs = np.zeros(supply.hosts, dtype=np.int64)
    stock = Stock(terms=terms_of(supply, batch), amounts=supply.amounts(), first_row=supply.first_row, costs=costs)
    less = stock.amounts.copy()
    less[0, 0] += 1
    others = (replace(stock, amounts=less), replace(stock, costs=costs + 1), stock.of(np.arange(10)))
    assert stock.token == pickle.loads(pickle.dumps(stock)).token  # noqa: S301
    assert 4 == len({stock.token, *(other.token for other in others)})
