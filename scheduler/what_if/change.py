"""What may be supposed about a fleet: a small closed language, read once (`--what-if drain=h1`).

`str()` of a change is its text again; `sentence` says it to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from policies.request import GUEST_NAME
from probe.errors import BadInputError
from probe.topology import LOCAL_DISTANCE, UNREACHABLE_DISTANCE
from probe.units import format_kib, parse_size_kib

EACH = "each"
"""`lose=each`: every host in turn."""


class ChangeInvalidError(BadInputError):
    """A change that cannot be read, or that the fleet it is supposed of cannot have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A host, or with `node` one node of it, is closed, and its guests find another place."""

    host: str
    node: int | None = None

    def __str__(self) -> str:
        return f"drain={self.host}" if self.node is None else f"drain={self.host}:{self.node}"

    @property
    def sentence(self) -> str:
        return f"{self.host} is drained" if self.node is None else f"node {self.node} of {self.host} is drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """A host is gone, and its guests are started elsewhere."""

    host: str

    def __str__(self) -> str:
        return f"lose={self.host}"

    @property
    def sentence(self) -> str:
        return f"{self.host} is lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseEach:
    """Each host in turn is lost (N+1): as many questions as there are hosts."""

    def __str__(self) -> str:
        return f"lose={EACH}"

    @property
    def sentence(self) -> str:
        return "one host is lost, each in turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMemory:
    """A node has so much memory more."""

    host: str
    node: int
    kib: int

    def __str__(self) -> str:
        return f"memory={self.host}:{self.node}:+{format_kib(self.kib)}"

    @property
    def sentence(self) -> str:
        return f"node {self.node} of {self.host} has {format_kib(self.kib)} more memory"


CXL_DISTANCE = 28
"""How far a memory node without pCPUs is where nothing is said: a real server of two packages with four of them
(containers/nri-plugins, pkg/sysfs/test-data, sample2) tells 17 from its own package and 28 from the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCxl:
    """A host has one node more, with memory and no pCPUs. `distance` is SLIT, to and from every other node."""

    host: str
    kib: int
    distance: int = CXL_DISTANCE

    def __str__(self) -> str:
        return f"cxl={self.host}:{format_kib(self.kib)}" + _unless(self.distance, CXL_DISTANCE)

    @property
    def sentence(self) -> str:
        return f"{self.host} has a node more, of {format_kib(self.kib)} and no pCPUs, at distance {self.distance}"


PACKAGE_DISTANCE = 12
"""How far the nodes of one package are from each other where nothing is said: AMD EPYC with two nodes per package
(openpmix/prrte, test-topo.xml) tells 12, and 32 to the other package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesPerPackage:
    """A host is started again with so many NUMA nodes per package (AMD's NPS, Intel's SNC).

    `distance` is SLIT, between the nodes that are made of one.
    """

    host: str
    count: int
    distance: int = PACKAGE_DISTANCE

    def __str__(self) -> str:
        return f"nodes={self.host}:{self.count}" + _unless(self.distance, PACKAGE_DISTANCE)

    @property
    def sentence(self) -> str:
        return f"{self.host} is started again with {self.count} node{'s' * (self.count > 1)} per package"


Change = Drain | Lose | AddMemory | AddCxl | NodesPerPackage
"""What makes another fleet of a fleet."""

_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "drain": "drain=HOST or drain=HOST:NODE",
        "lose": f"lose=HOST or lose={EACH}",
        "memory": "memory=HOST:NODE:+SIZE",
        "cxl": "cxl=HOST:SIZE or cxl=HOST:SIZE:DISTANCE",
        "nodes": "nodes=HOST:COUNT or nodes=HOST:COUNT:DISTANCE",
    }
)
"""Kind to how it is written."""

MOST_KIB = 2**40
"""A size over this (1024 TiB) is a slip of the pen."""

MOST_NODES = 64
"""Nodes per package, likewise."""


def parse_changes(texts: Sequence[str]) -> tuple[Change | LoseEach, ...]:
    """The changes, in the order in which they are made.

    Raises:
        ChangeInvalidError: a text is none, or `lose=each` stands there twice.
    """
    changes = tuple(parse_change(text) for text in texts)
    if sum(isinstance(change, LoseEach) for change in changes) > 1:
        raise ChangeInvalidError(f"--what-if lose={EACH}: stands there twice; expected one host lost at a time.")
    return changes


def one_by_one(changes: Sequence[Change | LoseEach]) -> tuple[tuple[Change, ...], LoseEach | None]:
    """The changes that make one fleet, and beside them whether each of its hosts is to be lost in turn."""
    each = next((change for change in changes if isinstance(change, LoseEach)), None)
    return tuple(change for change in changes if not isinstance(change, LoseEach)), each


def parse_change(text: str) -> Change | LoseEach:
    """One change. Raises `ChangeInvalidError`."""
    kind, equals, rest = text.partition("=")
    if not equals or kind not in _READERS:
        raise ChangeInvalidError(f"--what-if {text[:60]!r}: expected {', '.join(_FORMS.values())}.")
    words = rest.split(":")
    found = _READERS[kind](words) if GUEST_NAME.fullmatch(words[0]) else None
    if found is None:
        raise ChangeInvalidError(f"--what-if {text[:60]!r}: expected {_FORMS[kind]}.")
    return found


def _drain(words: Sequence[str]) -> Drain | None:
    if len(words) == 1:
        return Drain(host=words[0])
    node = _number(words[1])
    return None if len(words) > 2 or node is None else Drain(host=words[0], node=node)


def _lose(words: Sequence[str]) -> Lose | LoseEach | None:
    if len(words) > 1:
        return None
    return LoseEach() if words[0] == EACH else Lose(host=words[0])


def _memory(words: Sequence[str]) -> AddMemory | None:
    if len(words) != 3 or not words[2].startswith("+"):
        return None
    node, kib = _number(words[1]), _size(words[2][1:])
    return None if node is None or kib is None else AddMemory(host=words[0], node=node, kib=kib)


def _cxl(words: Sequence[str]) -> AddCxl | None:
    kib, distance = _size(words[1]) if len(words) > 1 else None, _distance(words, CXL_DISTANCE)
    return None if kib is None or distance is None else AddCxl(host=words[0], kib=kib, distance=distance)


def _nodes(words: Sequence[str]) -> NodesPerPackage | None:
    count, distance = _number(words[1]) if len(words) > 1 else None, _distance(words, PACKAGE_DISTANCE)
    if count is None or distance is None or not 1 <= count <= MOST_NODES:
        return None
    return NodesPerPackage(host=words[0], count=count, distance=distance)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


def _size(text: str) -> int | None:
    try:
        kib = parse_size_kib(text)
    except ValueError:
        return None
    return kib if 0 < kib <= MOST_KIB else None


def _distance(words: Sequence[str], default: int) -> int | None:
    """The third word, where there is one: a SLIT distance between two nodes that reach each other."""
    if len(words) < 3:
        return default
    distance = _number(words[2])
    return distance if len(words) == 3 and distance and LOCAL_DISTANCE < distance < UNREACHABLE_DISTANCE else None


def _unless(distance: int, default: int) -> str:
    return "" if distance == default else f":{distance}"


_READERS: Mapping[str, Callable[[Sequence[str]], Change | LoseEach | None]] = MappingProxyType(
    {"drain": _drain, "lose": _lose, "memory": _memory, "cxl": _cxl, "nodes": _nodes}
)
