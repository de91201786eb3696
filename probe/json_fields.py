"""Typed reading of untrusted JSON: one error that names origin, key path, expectation and value.

Written by hand because `numaplace probe` may import nothing slow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from probe.cpuset import CpuSet, NodeId, NodeSet
from probe.errors import SourceMalformedError

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)
_LARGEST = 2**63 - 1


def parse_json(text: str, *, origin: str) -> object:
    """Read JSON text.

    Raises:
        SourceMalformedError: it is not JSON, or is nested or long beyond what Python reads.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceMalformedError(f"{origin}:{error.lineno}", "JSON", f"{error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise SourceMalformedError(origin, "JSON of sensible size", f"{error}") from error


@dataclass(frozen=True, slots=True)
class JsonFields:
    """One JSON object, with where it stands: ``host.json: nodes[2].cpus``.

    Every method reads the value of one key and raises `SourceMalformedError` where the key is
    absent or its value is of another kind; the `optional_` ones answer None for an absent key or
    a null.
    """

    values: dict[str, object]
    origin: str
    path: str = ""

    @classmethod
    def of(cls, value: object, *, origin: str, path: str = "") -> JsonFields:
        if not isinstance(value, dict):
            raise SourceMalformedError(f"{origin}: {path}" if path else origin, "an object", _shown(value))
        return cls(value, origin, path)

    def error(self, key: str, expected: str) -> SourceMalformedError:
        """The error for the value of `key`."""
        found = _shown(self.values[key]) if key in self.values else "no such key"
        return SourceMalformedError(f"{self.origin}: {self._at(key)}", expected, found)

    def integer(self, key: str, *, minimum: int = 0) -> int:
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= _LARGEST:
            raise self.error(key, f"a whole number from {minimum}")
        return value

    def optional_integer(self, key: str) -> int | None:
        return None if self.values.get(key) is None else self.integer(key)

    def node(self, key: str) -> NodeId:
        return NodeId(self.integer(key))

    def optional_node(self, key: str) -> NodeId | None:
        return None if self.values.get(key) is None else self.node(key)

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not _is_unicode(value):
            raise self.error(key, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def word(self, key: str, kind: type[_E]) -> _E:
        """One of the closed set of words `kind`."""
        try:
            return kind(self.text(key))
        except ValueError:
            raise self.error(key, f"one of {', '.join(kind)}") from None

    def cpus(self, key: str) -> CpuSet:
        return self._parsed(key, CpuSet.parse)

    def optional_cpus(self, key: str) -> CpuSet | None:
        return None if self.values.get(key) is None else self.cpus(key)

    def nodes(self, key: str) -> NodeSet:
        return self._parsed(key, NodeSet.parse)

    def moment(self, key: str) -> datetime:
        """An ISO 8601 date and time with its offset, as aware UTC."""
        moment = self._parsed(key, datetime.fromisoformat)
        if moment.tzinfo is None:
            raise self.error(key, "a time with its offset from UTC")
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise self.error(key, "a time in the years 1 to 9999") from None

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(v, str) and _is_unicode(v) for v in value):
            raise self.error(key, "a list of texts")
        return tuple(value)

    def object(self, key: str) -> JsonFields:
        return JsonFields.of(self.values.get(key), origin=self.origin, path=self._at(key))

    def each(self, key: str, read: Callable[[JsonFields], _T]) -> tuple[_T, ...]:
        """What `read` makes of each object of a list."""
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self.error(key, "a list")
        at = self._at(key)
        items = (JsonFields.of(v, origin=self.origin, path=f"{at}[{i}]") for i, v in enumerate(value))
        return tuple(read(item) for item in items)

    def optional_each(self, key: str, read: Callable[[JsonFields], _T]) -> tuple[_T, ...]:
        return self.each(key, read) if self.values.get(key) is not None else ()

    def _parsed(self, key: str, parse: Callable[[str], _T]) -> _T:
        text = self.text(key)
        try:
            return parse(text)
        except ValueError as error:
            raise self.error(key, f"readable text ({error})") from None

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def _is_unicode(text: str) -> bool:
    """Whether the text can be printed: JSON may hold half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """The value as JSON, short; never an exception."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "a number over 2^63"
    return ascii(value) if isinstance(value, str) else str(value)
