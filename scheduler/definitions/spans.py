"""An XML text as elements with their place in it, so that edits leave every other character as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import quoteattr  # (writes only; nothing is parsed with it)

from probe.limits import ReadLimits
from probe.safe_xml import parse_xml

_TAG = re.compile(r"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
"""A whole tag of well-formed XML; a `>` in quotes does not end it."""
_REST_OF_LINE = re.compile(r"[ \t\r]*(?:\n|\Z)")


@dataclass(slots=True)
class Span:
    """One element: where it begins and ends in the text, its tag as written, its children.

    Attributes:
        namespace: what its prefix, or the default namespace, stands for; "" for none.
        inner: the place between its tags; None for an empty-element tag (`<a/>`).
        pieces: the character data directly in it.
    """

    tag: str
    attributes: Mapping[str, str]
    namespace: str
    start: int
    end: int = 0
    inner: tuple[int, int] | None = None
    pieces: list[str] = field(default_factory=list)
    children: list[Span] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The character data directly in it, as one."""
        return "".join(self.pieces)

    def all(self, tag: str) -> list[Span]:
        """Its children with this tag that are in no namespace, as libvirt's own elements are."""
        return [span for span in self.children if span.tag == tag and not span.namespace]

    def child(self, tag: str) -> Span | None:
        """The first of `all`, or None."""
        return next(iter(self.all(tag)), None)

    def walk(self) -> Iterator[Span]:
        """It and everything below it, in document order."""
        yield self
        for each in self.children:
            yield from each.walk()


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the characters from `start` to `end` (the same: insert) by `text`."""

    start: int
    end: int
    text: str


def index_xml(text: str, *, origin: str, limits: ReadLimits) -> Span:
    """The root element of a text that `parse_xml` accepts, with all places.

    Raises:
        SourceMalformedError: as `parse_xml`.
    """
    parse_xml(text, origin=origin, limits=limits)
    source = text.encode()
    indexer = _Indexer()
    indexer.parser.Parse(source, True)
    spans = list(indexer.root.walk())
    place = _characters(source, (at for span in spans for at in (span.start, span.end)))
    for span in spans:
        span.start, span.end = place[span.start], place[span.end]
        _set_ends(text, span)
    return indexer.root


class _Indexer:
    """Builds the spans; `start` and `end` are where the two tags begin, in bytes."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.root = Span(tag="", attributes={}, namespace="", start=0)
        self._stack: list[Span] = []
        self._scopes: list[Mapping[str, str]] = [{}]

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        declared = {key: value for key, value in attributes.items() if key == "xmlns" or key.startswith("xmlns:")}
        scope = {**self._scopes[-1], **declared} if declared else self._scopes[-1]
        prefix = tag.rpartition(":")[0]
        namespace = scope.get(f"xmlns:{prefix}" if prefix else "xmlns", "")
        span = Span(tag=tag, attributes=attributes, namespace=namespace, start=self.parser.CurrentByteIndex)
        if self._stack:
            self._stack[-1].children.append(span)
        else:
            self.root = span
        self._stack.append(span)
        self._scopes.append(scope)

    def _end(self, _: str) -> None:
        self._scopes.pop()
        self._stack.pop().end = self.parser.CurrentByteIndex

    def _data(self, content: str) -> None:
        self._stack[-1].pieces.append(content)


def _characters(source: bytes, places: Iterable[int]) -> Mapping[int, int]:
    """Places in UTF-8 bytes to places in characters."""
    found, at, characters = {}, 0, 0
    for place in sorted(set(places)):
        characters += len(source[at:place].decode())
        found[place], at = characters, place
    return found


def _set_ends(text: str, span: Span) -> None:
    """From where its end tag begins to where it ends, and what is between its tags."""
    opened = _end_of_tag(text, span.start)
    if text.endswith("/>", span.start, opened):
        span.end = opened
    else:
        span.inner, span.end = (opened, span.end), _end_of_tag(text, span.end)


def _end_of_tag(text: str, start: int) -> int:
    match = _TAG.match(text, start)
    if match is None:
        raise ValueError(f"no tag at {start}: the text is not what was parsed")
    return match.end()


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits done; edits at one place keep their order. They must not overlap."""
    parts, position = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if edit.start < position:
            raise ValueError(f"edits overlap at {edit.start}")
        parts += [text[position : edit.start], edit.text]
        position = edit.end
    return "".join([*parts, text[position:]])


def element(tag: str, attributes: Mapping[str, object], inner: str = "") -> str:
    """One element as text, attributes escaped; `inner` is XML already."""
    written = "".join(f" {name}={quoteattr(str(value))}" for name, value in attributes.items())
    return f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>"


def remove(text: str, start: int, end: int) -> Edit:
    """Take a part out, and the line with it where it stands alone on one."""
    line, rest = start, _REST_OF_LINE.match(text, end)
    while line and text[line - 1] in " \t":
        line -= 1
    if rest is not None and (line == 0 or text[line - 1] == "\n"):
        return Edit(line, rest.end(), "")
    return Edit(start, end, "")


def append_inside(span: Span, inner: str) -> Edit:
    """Put XML at the end of an element; an empty-element tag is opened for it."""
    if span.inner is not None:
        return Edit(span.inner[1], span.inner[1], inner)
    return Edit(span.end - 2, span.end, f">{inner}</{span.tag}>")
