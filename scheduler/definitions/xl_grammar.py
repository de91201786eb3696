"""The grammar of xl.cfg(5), as Xen's own parser (libxlutil, `libxlu_cfg_l.l` and `_y.y`) has it.

It looks like Python and is not: `key = value` and `key += value`, values are strings, numbers
without a sign, and lists; no continuation lines, no carriage returns, no code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from probe.errors import SourceMalformedError
from scheduler.definitions.template import TEMPLATE_LIMITS

Value = str | list["Value"]
"""xl keeps numbers as text too; `number` reads them."""

_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)|(?P<end>\#[^\n]*(?:\n|\Z)|[\n;])|(?P<name>[a-z][_0-9a-z]*)|(?P<number>[0-9][0-9a-fx]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<mark>\+=|[=\[\],])|(?P<variable>\{[A-Za-z_]\w*\})""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "'": "'", "\\": "\\"}
"""The escapes that xl reads; those with digits it reads wrongly (4.17), so we refuse them."""
_NUMBER = re.compile(r"\s*(?:(0x[0-9a-fA-F]{1,15})|(0[0-7]{0,20})|([1-9][0-9]{0,17}))", re.ASCII)
_MAX_NESTING = 8
_MAX_ASSIGNMENTS = 10_000


@dataclass(frozen=True, slots=True)
class Token:
    """One word of the grammar; `kind` is its group in `_TOKEN`."""

    kind: str
    text: str
    start: int
    line: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `key = value`, with its place in the text (from the key to the end of the value)."""

    key: str
    value: Value
    start: int
    end: int
    line: int
    adds: bool = False


def tokens(text: str, *, origin: str) -> list[Token]:
    """Every word of an xl.cfg, blanks included. Raises `SourceMalformedError`."""
    if len(text) > TEMPLATE_LIMITS.file_bytes:
        raise SourceMalformedError(origin, f"at most {TEMPLATE_LIMITS.file_bytes} characters", len(text))
    found: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            advice = "Maybe its lines end as on Windows: convert them." if text[position] == "\r" else ""
            near = text[position : position + 20]
            raise SourceMalformedError(f"{origin}:{line}", "an xl.cfg", near, advice=advice)
        found.append(Token(str(match.lastgroup), match[0], position, line))
        line += match[0].count("\n")
        position = match.end()
    return found


def parse_xl_cfg(text: str, *, origin: str, unfilled: bool = False) -> tuple[Assignment, ...]:
    """Every assignment of an xl.cfg, in order.

    In an `unfilled` template a `{variable}` may stand for a number; its value is its text.

    Raises:
        SourceMalformedError: names the line.
    """
    words = [token for token in tokens(text, origin=origin) if token.kind != "blank"]
    reader = _Reader(words, origin, frozenset({"string", "number", *(["variable"] if unfilled else [])}))
    found: list[Assignment] = []
    while not reader.at_end:
        if reader.word.kind == "end":
            reader.take()
            continue
        found.append(reader.assignment())
        if len(found) > _MAX_ASSIGNMENTS:
            raise SourceMalformedError(origin, f"at most {_MAX_ASSIGNMENTS} assignments", "more")
    return tuple(found)


class _Reader:
    """Reads assignments from words, one after the other."""

    def __init__(self, words: Sequence[Token], origin: str, atoms: frozenset[str]) -> None:
        last = words[-1].line if words else 1
        self._words = [*words, Token("eof", "the end", 0, last)]
        self._origin, self._atoms = origin, atoms
        self._at = 0

    @property
    def word(self) -> Token:
        return self._words[self._at]

    @property
    def at_end(self) -> bool:
        return self.word.kind == "eof"

    def take(self) -> Token:
        self._at += 1
        return self._words[self._at - 1]

    def assignment(self) -> Assignment:
        key = self.take()
        if key.kind != "name":
            raise self._error(key, "key = value")
        operator = self.take()
        if operator.text not in ("=", "+="):
            raise self._error(operator, "= behind a key")
        value = self._value(0)
        last = self._words[self._at - 1]
        if self.word.kind not in ("end", "eof"):
            raise self._error(self.word, "a new line")
        return Assignment(key.text, value, key.start, last.end, key.line, operator.text == "+=")

    def _value(self, depth: int) -> Value:
        word = self.take()
        if word.kind in self._atoms:
            return self._unquoted(word) if word.kind == "string" else word.text
        if word.text != "[":
            raise self._error(word, "a number, a string or a list")
        if depth == _MAX_NESTING:
            raise self._error(word, f"at most {_MAX_NESTING} nested lists")
        return self._items(depth)

    def _items(self, depth: int) -> list[Value]:
        """The rest of a list, behind its `[`; a comma may follow the last item."""
        items: list[Value] = []
        self._skip_lines()
        while self.word.text != "]":
            items.append(self._value(depth + 1))
            self._skip_lines()
            if self.word.text == ",":
                self.take()
                self._skip_lines()
            elif self.word.text != "]":
                raise self._error(self.word, "a list that ends with ]")
        self.take()
        return items

    def _skip_lines(self) -> None:
        while self.word.kind == "end" and self.word.text != ";":
            self.take()

    def _unquoted(self, word: Token) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPED:
                raise self._error(word, f"an escape that xl knows, not \\{match[1]}")
            return _ESCAPED[match[1]]

        return _ESCAPE.sub(replace, word.text[1:-1])

    def _error(self, word: Token, expected: str) -> SourceMalformedError:
        return SourceMalformedError(f"{self._origin}:{word.line}", expected, word.text)


def last_values(assignments: Sequence[Assignment], *, origin: str) -> Mapping[str, Value]:
    """Key to its value: the last assignment wins, `+=` adds to the one before.

    Raises:
        SourceMalformedError: a list is added to a string, or the other way round.
    """
    values: dict[str, Value] = {}
    for each in assignments:
        before = values.get(each.key) if each.adds else None
        if before is None:
            values[each.key] = each.value
        elif isinstance(before, str) and isinstance(each.value, str):
            values[each.key] = f"{before}{each.value}"
        elif isinstance(before, list) and isinstance(each.value, list):
            values[each.key] = [*before, *each.value]
        else:
            raise SourceMalformedError(f"{origin}:{each.line}", f"{each.key} += what it is", str(each.value))
    return values


def number(value: Value | None) -> int | None:
    """A value as xl reads a number (C's `strtol`: `010` is 8); None where it is none."""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    hexadecimal, octal, decimal = match.groups()
    return int(decimal) if decimal else int(octal, 8) if octal else int(hexadecimal, 16)


def quoted(value: str) -> str | None:
    """A value for the inside of an xl string; None where xl has no way to write it."""
    written = {character: f"\\{letter}" for letter, character in _ESCAPED.items()}
    if any(not (c.isprintable() or c in written) for c in value):
        return None
    return "".join(written.get(character, character) for character in value)
