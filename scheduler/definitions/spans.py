"""An XML text as elements with their place in it, so that edits leave every other byte as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import quoteattr  # (writes only; nothing is parsed with it)

from probe.limits import DEFAULT_LIMITS, ReadLimits
from probe.safe_xml import parse_xml


@dataclass(slots=True)
class Span:
    """One element: where it begins and ends in the UTF-8 bytes, its tag as written, its children.

    Attributes:
        inner: the bytes between its tags; None for an empty-element tag (`<a/>`).
        text: character data directly in it.
    """

    tag: str
    attributes: Mapping[str, str]
    start: int
    end: int = 0
    inner: tuple[int, int] | None = None
    text: str = ""
    children: list[Span] = field(default_factory=list)

    def child(self, tag: str) -> Span | None:
        """The first child with this tag, or None."""
        return next((span for span in self.children if span.tag == tag), None)

    def walk(self) -> Iterator[Span]:
        """It and everything below it, in document order."""
        yield self
        for each in self.children:
            yield from each.walk()


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the bytes from `start` to `end` (the same: insert) by `text`."""

    start: int
    end: int
    text: str


def index_xml(text: str, *, origin: str, limits: ReadLimits = DEFAULT_LIMITS) -> Span:
    """The root element of a text that `parse_xml` accepts, with all places.

    Raises:
        SourceMalformedError: as `parse_xml`.
    """
    parse_xml(text, origin=origin, limits=limits)
    source = text.encode()
    parser = expat.ParserCreate("utf-8")
    stack: list[Span] = []
    roots: list[Span] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        span = Span(tag=tag, attributes=attributes, start=parser.CurrentByteIndex)
        (stack[-1].children if stack else roots).append(span)
        stack.append(span)

    def end(_: str) -> None:
        span, at = stack.pop(), parser.CurrentByteIndex
        first_end = _end_of_tag(source, span.start)
        if source.endswith(b"/>", 0, first_end):
            span.end = first_end
        else:
            span.end, span.inner = _end_of_tag(source, at), (first_end, at)

    def data(content: str) -> None:
        stack[-1].text += content

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.Parse(source, True)
    return roots[0]


def _end_of_tag(source: bytes, start: int) -> int:
    """Just behind the `>` of the tag that begins at `start`; a `>` in quotes does not count."""
    quote = 0
    for at in range(start, len(source)):
        byte = source[at]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == ord(">"):
            return at + 1
    return len(source)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits done; edits at one place keep their order. They must not overlap."""
    source = text.encode()
    parts, position = [], 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        if edit.start < position:
            raise ValueError(f"edits overlap at byte {edit.start}")
        parts += [source[position : edit.start], edit.text.encode()]
        position = edit.end
    return b"".join([*parts, source[position:]]).decode()


def element(tag: str, attributes: Mapping[str, object], inner: str = "") -> str:
    """One element as text, attributes escaped; `inner` is XML already."""
    written = "".join(f" {name}={quoteattr(str(value))}" for name, value in attributes.items())
    return f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>"


def remove(text: str, span: Span) -> Edit:
    """Take an element out, and the line with it where it stands alone on one."""
    source = text.encode()
    start, end = span.start, span.end
    line = source.rfind(b"\n", 0, start) + 1
    if not source[line:start].strip() and source[end : end + 1] in (b"\n", b""):
        return Edit(line, min(end + 1, len(source)), "")
    return Edit(start, end, "")


def append_inside(span: Span, inner: str) -> Edit:
    """Put XML at the end of an element; an empty-element tag is opened for it."""
    if span.inner is not None:
        return Edit(span.inner[1], span.inner[1], inner)
    attributes = "".join(f" {name}={quoteattr(value)}" for name, value in span.attributes.items())
    return Edit(span.start, span.end, f"<{span.tag}{attributes}>{inner}</{span.tag}>")
