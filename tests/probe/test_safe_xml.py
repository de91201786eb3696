"""The XML reader refuses every known attack before it has cost anything, and reads what is honest."""

from __future__ import annotations

import time
from pathlib import Path
from xml.etree.ElementTree import Comment

import pytest
from hypothesis import given, strategies as st

from probe.errors import NumaplaceError, SourceMalformedError
from probe.limits import ReadLimits
from probe.safe_xml import HWLOC_DOCTYPES, parse_xml

BILLION = (
    '<!DOCTYPE a [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    + "]><a>&l9;</a>"
)
QUADRATIC = f'<!DOCTYPE a [<!ENTITY x "{"x" * 50_000}">]><a>{"&x;" * 50_000}</a>'
XXE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>'
PARAMETER = '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]><a/>'
EXTERNAL = '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/evil.dtd"><a/>'
PUBLIC = '<!DOCTYPE a PUBLIC "-//X" "hwloc2.dtd"><a/>'
HWLOC = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE topology SYSTEM "hwloc2.dtd">\n<topology/>'


@pytest.mark.parametrize("text", [BILLION, QUADRATIC, XXE, PARAMETER, EXTERNAL, PUBLIC])
@pytest.mark.parametrize("allowed", [frozenset(), HWLOC_DOCTYPES], ids=["strict", "hwloc"])
def test_entities_and_dtds_are_refused_at_once(text: str, allowed: frozenset[tuple[str, str]]) -> None:
    """No entity is expanded and no DTD opened; the answer takes no noticeable time."""
    begin = time.perf_counter()
    with pytest.raises(SourceMalformedError, match=r"evil\.xml: expected XML without"):
        parse_xml(text, origin="evil.xml", allow_doctype=allowed)
    assert time.perf_counter() - begin < 0.5


def test_hwlocs_own_doctype_passes_only_where_it_is_allowed() -> None:
    """`lstopo` writes a DOCTYPE; another name, an internal subset, or another reader refuses it."""
    assert parse_xml(HWLOC, origin="h", allow_doctype=HWLOC_DOCTYPES).tag == "topology"
    with pytest.raises(SourceMalformedError, match="without a DOCTYPE"):
        parse_xml(HWLOC, origin="h")
    for evil in (
        HWLOC.replace("hwloc2.dtd", "hwloc9.dtd"),
        HWLOC.replace("DOCTYPE topology", "DOCTYPE domain"),
        HWLOC.replace('"hwloc2.dtd"', '"hwloc2.dtd" [<!ATTLIST topology a CDATA "b">]'),
        HWLOC.replace('"hwloc2.dtd"', '"hwloc2.dtd" [<!ENTITY e "b">]'),
    ):
        with pytest.raises(SourceMalformedError, match="XML without"):
            parse_xml(evil, origin="h", allow_doctype=HWLOC_DOCTYPES)


def test_an_undefined_entity_behind_an_allowed_doctype_is_refused() -> None:
    """With an external DTD that nobody reads, expat itself would skip `&x;` silently."""
    with pytest.raises(SourceMalformedError, match="undefined entity"):
        parse_xml(
            HWLOC.replace("<topology/>", "<topology>&x;</topology>"),
            origin="h",
            allow_doctype=HWLOC_DOCTYPES,
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a>" * 200_000 + "</a>" * 200_000, "at most 128 levels"),
        ("<a>" * 129 + "</a>" * 129, "at most 128 levels"),
        ("<a>" + "<b/>" * 2_000_001 + "</a>", "at most 2000000 elements"),
        ("<a " + " ".join(f'a{i}="1"' for i in range(65)) + "/>", "at most 64 attributes"),
        ("<a " + " ".join(f'a{i}="1"' for i in range(1_000_000)) + "/>", "bytes in one tag"),
    ],
    ids=["deep", "one too deep", "many", "65 attributes", "attribute bomb"],
)
def test_bombs_are_refused_while_reading(text: str, expected: str) -> None:
    """Depth, elements and attributes are capped, and a tag of 11 MB is not even built."""
    begin = time.perf_counter()
    with pytest.raises(SourceMalformedError, match=expected):
        parse_xml(text, origin="bomb.xml")
    assert time.perf_counter() - begin < 20


def test_what_is_just_within_the_limits_passes() -> None:
    """The caps are inclusive: 128 levels, 64 attributes, exactly `file_bytes`."""
    deep = "<a>" * 128 + "</a>" * 128
    assert parse_xml(deep, origin="x").tag == "a"
    wide = "<a " + " ".join(f'a{i}="1"' for i in range(64)) + "/>"
    assert len(parse_xml(wide, origin="x").attrib) == 64
    assert parse_xml("<a/>", origin="x", limits=ReadLimits(file_bytes=4)).tag == "a"
    with pytest.raises(SourceMalformedError, match="at most 3 bytes"):
        parse_xml("<a/>", origin="x", limits=ReadLimits(file_bytes=3))


def test_siblings_do_not_count_as_depth() -> None:
    """A thousand elements side by side are two levels."""
    assert len(parse_xml("<a>" + "<b></b>" * 1000 + "</a>", origin="x", limits=ReadLimits(xml_depth=2))) == 1000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252", "utf-8-sig"])
def test_bytes_are_read_in_the_encoding_they_declare(encoding: str) -> None:
    """libvirt writes UTF-8; a file may say otherwise."""
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    document = f'<?xml version="1.0" encoding="{named}"?><a b="é"/>'.encode(encoding)
    assert parse_xml(document, origin="x").get("b") == "é"


def test_a_str_is_read_as_it_is_whatever_it_declares() -> None:
    """The declaration told how the bytes were decoded; the text is Unicode already."""
    assert parse_xml('<?xml version="1.0" encoding="ISO-8859-1"?><a b="é"/>', origin="x").get("b") == "é"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"   \n",
        b"not xml",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a>\0</a>",
        b"<a/>\0",
        b"<a x='\x00'/>",
        b"<a x='1' x='2'/>",
        b"<n:a/>",
        b"<a>&nope;</a>",
        b"<a>\xff</a>",
        b"<?xml version='1.0' encoding='klingon'?><a/>",
        b"<?xml version='1.0' encoding='utf-7'?><a/>",
        b"<?xml version='1.0' encoding='shift_jis'?><a/>",
        b"<?xml version='1.0' encoding='base64'?><a/>",
        "<a>\ud800</a>",
        "",
    ],
)
def test_what_is_not_xml_gives_one_typed_error(document: str | bytes) -> None:
    """Malformed input names its file; no other exception escapes."""
    with pytest.raises(SourceMalformedError, match=r"^x\.xml: expected "):
        parse_xml(document, origin="x.xml")


def test_the_error_names_the_place_and_shows_it() -> None:
    """Expat's line and column, and the text that stands there."""
    with pytest.raises(SourceMalformedError, match=r"mismatched tag: line 2, column 2") as error:
        parse_xml("<a>\n</b>", origin="x.xml")
    assert "b>" in str(error.value)


def test_comments_and_instructions_are_kept_on_request_only() -> None:
    """The template merger leaves a user's comments where they are."""
    text = "<a><!-- one --><b/><?two three?></a>"
    assert [child.tag for child in parse_xml(text, origin="x")] == ["b"]
    kept = parse_xml(text, origin="x", keep_comments=True)
    assert kept[0].tag is Comment
    assert tuple(child.text for child in kept) == (" one ", None, "two three")


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_our_error(noise: bytes) -> None:
    """Nothing but our own errors leaves the reader."""
    for document in (noise, b"<a>" + noise + b"</a>", b"<a b='" + noise + b"'/>"):
        try:
            parse_xml(document, origin="x", allow_doctype=HWLOC_DOCTYPES)
        except NumaplaceError:
            continue


def test_every_xml_of_the_data_folder_is_read(data: Path) -> None:
    """The caps pass every recording; the one that is no XML is named."""
    read = 0
    go_text = data / "kubevirt" / "domain_numa_topology.xml"  # begins as XML and goes on as Go source
    with pytest.raises(SourceMalformedError, match="line 20"):
        parse_xml(go_text.read_bytes(), origin=str(go_text))
    for path in sorted(set(data.rglob("*.xml")) - {go_text}):
        if path.stat().st_size == 0:  # two domains that had died before `dumpxml` was asked
            continue
        parse_xml(path.read_bytes(), origin=str(path), allow_doctype=HWLOC_DOCTYPES)
        read += 1
    assert read > 300
