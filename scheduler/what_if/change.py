"""What may be supposed about a fleet: a small closed language, read once (`--what-if drain=h1`).

`str()` of a change is its text again; `sentence` says it to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from policies.request import GUEST_NAME
from probe.errors import BadInputError

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


Change = Drain | Lose
"""What makes another fleet of a fleet."""

_FORMS: Mapping[str, str] = MappingProxyType(
    {
        "drain": "drain=HOST or drain=HOST:NODE",
        "lose": f"lose=HOST or lose={EACH}",
    }
)
"""Kind to how it is written."""


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


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else None


_READERS: Mapping[str, Callable[[Sequence[str]], Change | LoseEach | None]] = MappingProxyType(
    {"drain": _drain, "lose": _lose}
)
