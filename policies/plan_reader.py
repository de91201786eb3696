"""Read values out of decoded JSON; every complaint names the key path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, TypeVar

from policies.errors import PlanMalformedError
from probe.cpuset import MAX_ID, CpuSet, NodeSet

Ids = TypeVar("Ids", CpuSet, NodeSet)
Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Reader:
    """A value at a key path. Every method raises `PlanMalformedError` where it is something else."""

    value: Any
    path: str
    origin: str

    @classmethod
    def of(cls, value: object, origin: str) -> Reader:
        return cls(value, "", origin)

    def __getitem__(self, key: str) -> Reader:
        mapping = self._mapping()
        if key not in mapping:
            raise self.error(f"a key {key!r}")
        return Reader(mapping[key], f"{self.path}.{key}".lstrip("."), self.origin)

    def __contains__(self, key: str) -> bool:
        return key in self._mapping()

    def items(self) -> Iterator[Reader]:
        """The items of a list, in order."""
        if not isinstance(self.value, list):
            raise self.error("a list")
        for i, item in enumerate(self.value):
            yield Reader(item, f"{self.path}[{i}]", self.origin)

    def numbered(self) -> Iterator[tuple[int, Reader]]:
        """The items of an object whose keys are vCPU numbers."""
        for key in self._mapping():
            if not (key.isascii() and key.isdecimal() and str(int(key[:6])) == key and int(key) <= MAX_ID):
                raise self.error(f"vCPU numbers as keys, like '0', up to {MAX_ID}")
            yield int(key), self[key]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.error("a text")
        return self.value

    def integer(self, *, signed: bool = False) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.error("a whole number")
        if self.value < 0 and not signed:
            raise self.error("a number that is not negative")
        return self.value

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error("a number")
        try:
            number = float(self.value)
        except OverflowError:
            raise self.error("a number of a usual size") from None
        if not isfinite(number):
            raise self.error("a finite number")
        return number

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.error("true or false")
        return self.value

    def choice(self, kind: type[Choice]) -> Choice:
        try:
            return kind(self.text())
        except ValueError:
            raise self.error(f"one of {', '.join(kind)}") from None

    def set_of(self, kind: type[Ids]) -> Ids:
        try:
            return kind.parse(self.text())
        except ValueError:
            raise self.error("a set like '0-3,8'") from None

    def optional_set(self, kind: type[Ids]) -> Ids | None:
        return None if self.value is None else self.set_of(kind)

    def error(self, expected: str) -> PlanMalformedError:
        return PlanMalformedError(self.origin, self.path or "the plan", expected, self.value)

    def _mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict) or not all(isinstance(key, str) for key in self.value):
            raise self.error("an object")
        return self.value
