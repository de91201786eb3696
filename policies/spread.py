"""Where parts of a large question are answered: here, or wherever the caller has them answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


class Spread(Protocol):
    """As `map`: all values, in the order of the items. The functions are those of a module, the items plain values."""

    def __call__(self, function: Callable[[Item], Value], items: Sequence[Item], /) -> Sequence[Value]: ...


def here(function: Callable[[Item], Value], items: Sequence[Item], /) -> Sequence[Value]:
    """One after the other, in this process."""
    return [function(item) for item in items]
