"""Where work is done: here, in processes of this machine, or on other machines. One interface for all.

A function and its items go out; what each item came to comes back, in the order in which they end. A worker that
dies takes nothing along: its item is done anew, and ends once. An engine never writes a file.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

from probe.errors import NumaplaceError

MOST_DEATHS = 3
"""An item whose worker died so often has failed: most likely it is the item that kills."""

Item = TypeVar("Item")
Value = TypeVar("Value")
Tell = Callable[[str], None]
"""Called by the work, with how far it is, for people."""
Work = Callable[[Item, Tell], Value]
"""A function of a module, so that a worker finds it by its name."""


class WorkFailedError(NumaplaceError):
    """An item of a `map` failed, and with it the whole."""


class EngineLostError(NumaplaceError):
    """The engine itself is gone; what has ended so far has ended."""

    exit_status = 6


@dataclass(frozen=True, slots=True)
class Ended:
    """What an item came to.

    Attributes:
        number: of the item, from 0.
        value: what the function returned; None where it failed.
        failure: why it failed; "" where it did not.
    """

    number: int
    value: Any
    failure: str = ""


class Watch(Protocol):
    """Who is told what is under way. Called in any thread."""

    def tell(self, number: int, where: str, text: str) -> None:
        """Item `number` is under way at `where`, and so far; the first call says that it began."""


class NobodyWatches:
    """No one is told."""

    def tell(self, number: int, where: str, text: str) -> None:
        """Do nothing."""


NOBODY = NobodyWatches()


class Engine(ABC):
    """Entered before it is used; left, its workers are gone."""

    workers: int = 1
    """How many items are under way at once, as far as is known."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Give back what was taken."""

    @abstractmethod
    def run(self, work: Work[Item, Value], items: Sequence[Item], watch: Watch = NOBODY) -> Iterator[Ended]:
        """Each item once, as they end.

        Raises:
            EngineLostError: nothing more can end.
        """

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """The values of all items, in their order.

        Raises:
            WorkFailedError: one failed.
            EngineLostError: as `run`.
        """
        values: dict[int, Value] = {}
        for ended in self.run(_call, [(function, item) for item in items]):
            if ended.failure:
                raise WorkFailedError(f"work on item {ended.number} failed: {ended.failure}.")
            values[ended.number] = ended.value
        return [values[number] for number in range(len(items))]


def _call(what: tuple[Callable[[Item], Value], Item], tell: Tell) -> Value:
    function, item = what
    return function(item)


def told_failure(error: BaseException) -> str:
    """Why something failed, in one line; where it is not one of our own errors, with its place in the code."""
    if isinstance(error, NumaplaceError):
        return error.message.rstrip(".")
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({frame[0].filename.rpartition('/')[2]}:{frame[0].lineno})" if frame else ""
    return f"{type(error).__name__}: {error}{place}".replace("\n", " ")


class Serial(Engine):
    """One item after the other, in this process."""

    def __exit__(self, *_: object) -> None:
        """Nothing was taken."""

    def run(self, work: Work[Item, Value], items: Sequence[Item], watch: Watch = NOBODY) -> Iterator[Ended]:
        for number, item in enumerate(items):
            watch.tell(number, "here", "")
            try:
                value = work(item, lambda text, number=number: watch.tell(number, "here", text))  # type: ignore[misc]
            except Exception as error:
                yield Ended(number, None, told_failure(error))
            else:
                yield Ended(number, value)
