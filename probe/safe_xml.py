"""The one XML reader: no entities, no external files, depth and size capped while it reads.

Expat and defusedxml cap neither depth nor attributes: 200,000 nested elements are accepted, and
`copy.deepcopy` of them kills CPython (research/reliability.md 0.8). So the caps are checked at each
start tag, before there is a tree.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException, DTDForbidden, EntitiesForbidden
from defusedxml.ElementTree import DefusedXMLParser

from probe.errors import SourceMalformedError
from probe.limits import DEFAULT_LIMITS, ReadLimits

HWLOC_DOCTYPES = frozenset({("topology", "hwloc.dtd"), ("topology", "hwloc2.dtd")})
"""The harmless DOCTYPEs that `lstopo` writes (versions 1; 2 and 3): root element, system id."""

_CHUNK_BYTES = 64 * 1024
_TAG_BYTES = 1024 * 1024
"""Largest single tag or comment: expat builds a tag with all its attributes before we see it."""


def parse_xml(
    content: str | bytes,
    *,
    origin: str,
    limits: ReadLimits = DEFAULT_LIMITS,
    allow_doctype: frozenset[tuple[str, str]] = frozenset(),
    keep_comments: bool = False,
) -> Element:
    """The root element of an XML document that nobody vouches for.

    `allow_doctype` holds (root element, system id) pairs, see `HWLOC_DOCTYPES`; any other DOCTYPE is
    refused, and none is ever opened. With `keep_comments` the comments and processing instructions
    inside the root become children of their element (their `tag` is a function, as ElementTree
    does it); those before and after the root are dropped either way.

    Raises:
        SourceMalformedError: not well-formed, too large or too deep, or with entities or a DTD.
    """
    document = _encoded(content, origin=origin)
    if len(document) > limits.file_bytes:
        raise SourceMalformedError(origin, f"XML of at most {limits.file_bytes} bytes", f"{len(document)} bytes")
    builder = _CappedBuilder(origin, limits, keep_comments=keep_comments)
    # A `str` is UTF-8 by now, whatever encoding its declaration names.
    encoding = "utf-8" if isinstance(content, str) else None
    try:
        parser = _OneDoctypeParser(builder, allow_doctype, encoding)
        return _fed(parser, document, origin)
    except ParseError as error:
        raise SourceMalformedError(origin, f"well-formed XML ({error})", _near(document, error)) from error
    except DTDForbidden as error:
        raise SourceMalformedError(origin, "XML without a DOCTYPE", f"{error.name} {error.sysid}") from error
    except EntitiesForbidden as error:
        raise SourceMalformedError(origin, "XML without entities", f"entity {error.name}") from error
    except DefusedXmlException as error:
        raise SourceMalformedError(origin, "XML without external references", error) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know, or not for XML
        raise SourceMalformedError(origin, f"XML in a known encoding ({error})", document[:60]) from error


class _OneDoctypeParser(DefusedXMLParser):
    """defusedxml's parser, which lets exactly the given DOCTYPEs pass unread."""

    def __init__(self, builder: TreeBuilder, allowed: frozenset[tuple[str, str]], encoding: str | None) -> None:
        super().__init__(target=builder, encoding=encoding, forbid_dtd=True, forbid_entities=True, forbid_external=True)
        self._allowed = allowed

    def defused_start_doctype_decl(
        self, name: str, sysid: str | None, pubid: str | None, has_internal_subset: bool
    ) -> None:
        if has_internal_subset or pubid is not None or (name, sysid) not in self._allowed:
            raise DTDForbidden(name, sysid, pubid)


class _CappedBuilder(TreeBuilder):
    """A tree builder that counts, and stops at the first element too many."""

    def __init__(self, origin: str, limits: ReadLimits, *, keep_comments: bool) -> None:
        super().__init__(insert_comments=keep_comments, insert_pis=keep_comments)
        self._origin, self._limits = origin, limits
        self._depth = self._elements = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._elements += 1
        limits = self._limits
        for count, cap, what in (
            (self._depth, limits.xml_depth, "levels of elements"),
            (self._elements, limits.xml_elements, "elements"),
            (len(attrs), limits.xml_attributes, "attributes in one element"),
        ):
            if count > cap:
                raise _too_much(self._origin, cap, what, found=f"<{tag}>")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _too_much(origin: str, cap: int, what: str, *, found: str) -> SourceMalformedError:
    return SourceMalformedError(
        origin, f"at most {cap} {what}", found, advice="Maybe raise the limit, if you trust the file."
    )


def _fed(parser: _OneDoctypeParser, document: bytes, origin: str) -> Element:
    """Parse in chunks: a handler that raises takes effect at the end of its chunk only."""
    for start in range(0, len(document), _CHUNK_BYTES):
        chunk = document[start : start + _CHUNK_BYTES]
        parser.feed(chunk)
        unread = start + len(chunk) - max(parser.parser.CurrentByteIndex, 0)
        if unread > _TAG_BYTES:
            raise _too_much(origin, _TAG_BYTES, "bytes in one tag or comment", found=f"{unread} bytes")
    root = parser.close()
    if not isinstance(root, Element):
        raise SourceMalformedError(origin, "an XML document", document[:60])
    return root


def _encoded(content: str | bytes, *, origin: str) -> bytes:
    if isinstance(content, bytes):
        return content
    try:
        return content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SourceMalformedError(origin, "text that is Unicode", content[error.start : error.end]) from error


def _near(document: bytes, error: ParseError) -> str:
    """What stands where the parser gave up."""
    line, column = error.position
    lines = document.split(b"\n", line)
    return lines[line - 1][column : column + 60].decode("utf-8", "replace") if 0 < line <= len(lines) else ""
