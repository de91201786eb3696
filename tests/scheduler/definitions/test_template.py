"""Variables of templates: filled in as text, and never as anything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, strategies as st

from probe.errors import SourceMalformedError
from scheduler.definitions.errors import TemplateInvalidError
from scheduler.definitions.template import Template, escaped_xml, filled_xml, substituted
from scheduler.definitions.xl_cfg import filled_xl
from scheduler.definitions.xl_grammar import last_values, parse_xl_cfg
from tests.scheduler.definitions.made import XL, merged

XML = """<domain type='kvm' note="{v}" other='{v}'><!-- {name} --><name>{name}</name>
<description>a{v}b</description><title><![CDATA[<{v}>]]></title><?pi {index}?></domain>"""
CFG = "extra = \"a{v}b\"\ntitle = '{v}'\ndisk = [ \"{v}\", 'x' ] # {v}\nvcpus = {n}\nlast = 1\n"
WORD = re.compile(r"\{\{?[A-Za-z_]\w*\}", re.ASCII)


def of(text: str, **variables: str) -> Template:
    return Template(text=text, origin="t", variables=variables, index=7)


@given(st.text())
def test_a_text_without_words_in_braces_stays(text: str) -> None:
    """JSON, f-strings, lone braces: all as they are."""
    if not WORD.search(text):
        assert text == substituted(text, {}, origin="t")


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ('{"a": {"b": {}}, "c": [{1}]}', '{"a": {"b": {}}, "c": [{1}]}'),
        ("{name}-{index} ${name} {{name}} {{{{", "g-7 $g {name} {{{{"),
        ("{ name } {na-me} {1x}", "{ name } {na-me} {1x}"),
    ],
)
def test_only_a_word_in_braces_is_a_variable(text: str, becomes: str) -> None:
    """`{{word}}` is how `{word}` itself is written."""
    assert becomes == substituted(text, {"name": "g", "index": "7"}, origin="t")


@given(st.text(max_size=30))
def test_a_value_is_read_back_from_xml_as_it_was(value: str) -> None:
    """In text, in either kind of quotes and in CDATA; it adds no element and no attribute."""
    try:
        domain = ET.fromstring(filled_xml(of(XML, v=re.sub("[{}]", "", value)), "g"))
    except TemplateInvalidError:
        with pytest.raises(TemplateInvalidError):
            escaped_xml(value)
        return
    value = re.sub("[{}]", "", value)
    assert ["name", "description", "title"] == [child.tag for child in domain]
    assert {"type": "kvm", "note": value, "other": value} == domain.attrib
    assert f"a{value}b" == domain.findtext("description")
    assert f"<{value}>".replace("\r\n", "\n").replace("\r", "\n") == domain.findtext("title")


@given(st.text(max_size=30))
def test_a_value_is_read_back_from_xl_as_it_was(value: str) -> None:
    """In strings of both kinds, and in a comment: it ends neither the string nor the line."""
    value = re.sub("[{}]", "", value)
    try:
        text = filled_xl(of(CFG, v=value, n="4"), "g")
    except TemplateInvalidError:
        assert not value.isprintable()
        return
    values = last_values(parse_xl_cfg(text, origin="t"), origin="t")
    assert {"extra": f"a{value}b", "title": value, "disk": [value, "x"], "vcpus": "4", "last": "1"} == values


@pytest.mark.parametrize("value", ["2\non_crash", "[1]", "'x'", "-1", "", "1 ;a=1"])
def test_outside_strings_xl_takes_numbers_only(value: str) -> None:
    """A variable adds no assignment and no list."""
    with pytest.raises(TemplateInvalidError, match="outside a string, and is no number"):
        filled_xl(of("vcpus = {n}\n", n=value), "g")


@pytest.mark.parametrize(
    ("text", "fill"), [("<domain>\n<name>{nmae}</name></domain>", filled_xml), ('a = 1\nname = "{nmae}"\n', filled_xl)]
)
def test_an_unknown_variable_names_its_line(text: str, fill: Callable[[Template, str], str]) -> None:
    """The error says where, what is known, and how braces are written."""
    with pytest.raises(
        TemplateInvalidError, match=r"t:2: unknown variable \{nmae\}, known are index, name, v"
    ) as error:
        fill(of(text, v="x"), "g")
    assert "{{nmae}}" in str(error.value)


def test_lines_are_counted_across_cdata() -> None:
    """A template is filled in pieces; the line is the file's."""
    with pytest.raises(TemplateInvalidError, match=r"t:4: unknown variable \{x\}"):
        filled_xml(of("<domain><a><![CDATA[\n{name}\n]]></a>\n<b>{x}</b></domain>"), "g")


def test_values_may_hold_the_guests_own_variables_only() -> None:
    """`vars: {disk: /srv/{name}}`; one that holds an unknown word names its key."""
    assert "<domain>/srv/g-7</domain>" == filled_xml(of("<domain>{disk}</domain>", disk="/srv/{name}-{index}"), "g")
    with pytest.raises(TemplateInvalidError, match=r"t: guest g: vars\.disk:1: unknown variable \{pool\}"):
        filled_xml(of("<domain>{disk}</domain>", disk="{pool}", pool="x"), "g")
    with pytest.raises(TemplateInvalidError, match=r"vars\.name: \{name\} is the guest's own"):
        filled_xml(of("<domain/>", name="x"), "g")


def test_a_comment_is_not_ended_by_a_value() -> None:
    """What XML cannot hold inside a comment is a typed error, not an element."""
    with pytest.raises(SourceMalformedError, match="t: expected well-formed XML"):
        merged("<domain type='kvm'><!-- {v} --></domain>", variables={"v": "--><uuid>x</uuid><!--"})


def test_a_guests_own_definition_has_no_variables() -> None:
    """`numaplace xml` reads a guest, not a template: its braces are braces."""
    text = "<domain type='kvm'><name>g</name><title>{name} {x} {{y}}</title></domain>"
    assert "<title>{name} {x} {{y}}</title>" in merged(text, is_filled=True)
    assert "extra = '{x}'\n" in merged("extra = '{x}'\n", XL, is_filled=True)
