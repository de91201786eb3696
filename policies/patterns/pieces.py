"""Questions about some hosts that stand for themselves: answered anywhere, side by side, and with the same answer."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from policies.patterns.market import Floats, Market, Offers, in_pairs, whole_hosts
from policies.patterns.question import Ints
from policies.patterns.terms import Terms
from policies.spread import Spread, here

MOST_HOSTS = 25_000
"""Of a piece: what it takes to carry it elsewhere stays small."""

FEWEST_SPREAD = 2_000
"""Hosts that are filled elsewhere, where tables are small."""
MOST_KEPT = 4
"""Markets that a process keeps: as many as a sample has widths."""
HEAVY_STATES = 100_000
"""Of a table that takes some hundredths of a second."""

Counts = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Hosts, what is left on their nodes, and what it costs to have the first guest there.

    Attributes:
        terms: of these hosts.
        amounts: (resources, rows) as in `Left`.
        first_row: (hosts + 1,) as in `Supply`.
        costs: (hosts,)
    """

    terms: Terms
    amounts: Ints
    first_row: Ints
    costs: Ints

    def of(self, hosts: Ints) -> Stock:
        """These hosts alone, numbered from 0."""
        return Stock(
            terms=replace(self.terms, kind_of_host=self.terms.kind_of_host[hosts]),
            amounts=self.amounts[:, self.rows(hosts)],
            first_row=np.concatenate(([0], np.cumsum(np.diff(self.first_row)[hosts]))),
            costs=self.costs[hosts],
        )

    def rows(self, hosts: Ints) -> Ints:
        """The rows of these hosts, one host after the other."""
        nodes = np.diff(self.first_row)[hosts]
        return np.repeat(self.first_row[hosts] - np.cumsum(nodes) + nodes, nodes) + np.arange(nodes.sum())

    @property
    def token(self) -> str:
        """Equal for equal stocks of one question, and for no others."""
        whole = hashlib.sha256(pickle.dumps(self.terms))
        for part in (self.amounts, self.first_row, self.costs):
            whole.update(part.tobytes())
        return whole.hexdigest()

    @property
    def is_heavy(self) -> bool:
        """Whether a table takes longer than to carry a question elsewhere."""
        return self.terms.states >= HEAVY_STATES

    def is_worth_spreading(self, hosts: Ints) -> bool:
        """Whether filling these hosts takes longer than to carry them elsewhere."""
        return self.is_heavy or len(hosts) >= FEWEST_SPREAD

    def market(self, *, by_pairs: bool, width: int | None = None) -> Market:
        """What they offer, filled host by host or two nodes together; of `width` nodes only, where it is given."""
        hosts = np.arange(len(self.costs))
        if by_pairs:
            units = in_pairs(self.first_row, hosts, self.costs, self.terms.grid.state(self.amounts))
        else:
            units = whole_hosts(self.first_row, hosts, self.costs)
        return Market(self.terms, self.amounts, [u for u in units if width in (None, u.rows.shape[1])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some hosts, and what placing a guest in each way is worth on them.

    Attributes:
        values: (ways,) see `Goal.values`.
        width: only units of so many nodes are looked at; None: all.
        bucket, buckets: for `priced`: (hosts,) the bucket of each host, and how many there are.
        token: equal for pieces of equal stocks that are asked again and again; "" for those that are asked once.
    """

    stock: Stock
    values: Ints
    by_pairs: bool = False
    width: int | None = None
    bucket: Ints | None = None
    buckets: int = 1
    token: str = ""

    def offers(self) -> Offers:
        """The best pattern of each of its units."""
        market = _kept_market(_Kept(self)) if self.token else self.market()
        return market.at(self.values)

    def market(self) -> Market:
        """Its units."""
        return self.stock.market(by_pairs=self.by_pairs, width=self.width)


class _Kept:
    """A piece that equals others which differ in their values only."""

    def __init__(self, piece: Piece) -> None:
        self.piece, self._key = piece, (piece.token, piece.by_pairs, piece.width)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and self._key == other._key


@lru_cache(maxsize=MOST_KEPT)
def _kept_market(kept: _Kept) -> Market:
    """Made once for all prices that are tried there: to make it takes as long as to ask it."""
    return kept.piece.market()


def filled(piece: Piece) -> Counts:
    """(rows, ways) how many shares of each way the best patterns have on each node."""
    counts = np.zeros((piece.stock.amounts.shape[1], len(piece.stock.terms.ways)), dtype=np.int32)
    rows, shares = piece.offers().shares()
    counts[rows] = shares
    return counts


def worth(piece: Piece) -> int:
    """The value of the best patterns together, never too low."""
    return piece.offers().worth()


def priced(piece: Piece) -> tuple[int, Floats, Floats]:
    """The value of the best patterns together, and the shares and the costs of each bucket (`Offers.of_buckets`)."""
    offers = piece.offers()
    bucket = np.zeros(len(piece.stock.costs), dtype=np.int64) if piece.bucket is None else piece.bucket
    return offers.worth(), *offers.of_buckets(bucket, piece.buckets)


class Sample:
    """Some hosts at which one price after the other is tried; those of a bucket are mixed together.

    Where tables are large each is made wherever `spread` has it made; all sums are of whole numbers, so that they are
    the same in any order.
    """

    def __init__(self, stock: Stock, bucket: Ints, buckets: int, *, by_pairs: bool, spread: Spread) -> None:
        self.buckets = buckets
        self._bucket, self._spread = bucket, spread
        self._market = stock.market(by_pairs=by_pairs)
        self._pieces: list[Piece] = []
        if spread is not here and stock.is_heavy:
            asked = Piece(
                stock=stock, values=bucket[:0], by_pairs=by_pairs, bucket=bucket, buckets=buckets, token=stock.token
            )
            self._pieces = [replace(asked, width=width) for width in self._market.widths]

    def at(self, values: Ints) -> tuple[int, Floats, Floats]:
        """What the best patterns are worth at these values, and their guests and costs by bucket."""
        if len(self._pieces) > 1:
            found = self._spread(priced, [replace(piece, values=values) for piece in self._pieces])
            value, shares, costs = (sum(part) for part in zip(*found, strict=True))
        else:
            offers = self._market.at(values)
            value, (shares, costs) = offers.worth(), offers.of_buckets(self._bucket, self.buckets)
        return value, shares / self._market.terms.shares_of_ways, costs


def parts(hosts: Ints) -> list[Ints]:
    """The hosts, so many at once as a piece may have."""
    return [hosts[first : first + MOST_HOSTS] for first in range(0, len(hosts), MOST_HOSTS)]
