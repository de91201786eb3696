"""Templates: a user's own domain XML or xl.cfg, and the minimal ones for guests that have none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from probe.limits import ReadLimits
from probe.safe_xml import parse_xml
from scheduler.definitions.errors import DefinitionConflictError, TemplateInvalidError
from scheduler.executors.port import DefinitionKind

TEMPLATE_LIMITS = ReadLimits(file_bytes=4 * 1024**2, xml_elements=100_000)
"""libvirt carries no longer text (REMOTE_STRING_MAX, 4 MiB)."""

_VARIABLE = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}", re.ASCII)
_OWN_VARIABLES = ("name", "index")
_XML_CANNOT_HOLD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_XML_ESCAPES = {'"': "&quot;", "'": "&apos;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_CDATA = re.compile(r"<!--.*?-->|<\?.*?\?>|(?P<cdata><!\[CDATA\[.*?\]\]>)", re.DOTALL)

DEFAULT_KVM = """\
<domain type='{domain_type}'>
  <name>{name}</name>
  <os><type machine='q35'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <serial type='pty'/>
    <memballoon model='none'/>
  </devices>
</domain>
"""
"""A guest without a disk: enough to see where its threads and memory are."""

DEFAULT_XEN = """\
<domain type='xen'>
  <name>{name}</name>
  <os><type machine='xenpvh'>xenpvh</type><kernel>{kernel}</kernel></os>
</domain>
"""

DEFAULT_XL = """\
name = "{name}"
type = "pvh"
kernel = "{kernel}"
"""

_DEFAULTS = {
    DefinitionKind.KVM_XML: DEFAULT_KVM,
    DefinitionKind.XEN_XML: DEFAULT_XEN,
    DefinitionKind.XL_CFG: DEFAULT_XL,
}
_DEFAULT_VARIABLES = {"domain_type": "qemu", "kernel": "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"}
"""What the built-in templates need; `vars` of a fleet file win. `qemu` runs everywhere, `kvm` is faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The text that a guest's definition is made from.

    Attributes:
        origin: what errors call it.
        variables: what `{key}` becomes, `{name}` and `{index}` apart. They may hold these two.
        replace_pins: give up pins that the text has; without it they are an error.
        is_filled: the text is a guest's own definition, in which braces are only braces.
    """

    text: str
    origin: str
    variables: Mapping[str, str] = field(default_factory=dict)
    index: int = 1
    replace_pins: bool = False
    is_filled: bool = False

    def values(self, name: str) -> Mapping[str, str]:
        """What each variable is for the guest of this name.

        Raises:
            TemplateInvalidError: a variable holds an unknown one, or is called `name` or `index`.
        """
        for taken in set(_OWN_VARIABLES) & set(self.variables):
            raise TemplateInvalidError(
                f"{self.origin}: guest {name}: vars.{taken}: {{{taken}}} is the guest's own.",
                advice="Maybe call the variable something else.",
            )
        own = {"name": name, "index": str(self.index)}
        given = {
            key: substituted(value, own, origin=f"{self.origin}: guest {name}: vars.{key}")
            for key, value in self.variables.items()
        }
        return {**given, **own}


def default_template(kind: DefinitionKind, variables: Mapping[str, str] | None = None) -> Template:
    """The minimal template of one kind of definition."""
    return Template(
        text=_DEFAULTS[kind],
        origin=f"built-in {kind.value} template",
        variables={**_DEFAULT_VARIABLES, **(variables or {})},
    )


def conflict(template: Template, guest: str, why: str, *, pins: bool = False) -> DefinitionConflictError:
    """The template says something else than the plan; `pins`: which may be given up."""
    advice = "Maybe let the template and the fleet file say the same, or leave it out of one of them."
    if pins:
        advice = "Maybe take it out of the template, or give it up: `replace_pins: true`, --replace-pins."
    return DefinitionConflictError(f"{template.origin}: guest {guest}: {why}.", advice=advice)


def is_xml(text: str) -> bool:
    """Whether a template is a domain XML; else it is an xl.cfg."""
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def filled_xml(template: Template, name: str) -> str:
    """The XML with `{name}`, `{index}` and the variables filled in, each as text and never as markup.

    Raises:
        TemplateInvalidError: an unknown variable (names the line), or a value that XML cannot hold.
        SourceMalformedError: the template is no XML that we read.
    """
    if template.is_filled:
        return template.text
    parse_xml(template.text, origin=template.origin, limits=TEMPLATE_LIMITS)
    values = template.values(name)
    parts, line = [], 1
    for piece, quote in _pieces(template.text):
        parts.append(substituted(piece, values, origin=template.origin, quote=quote, first_line=line))
        line += piece.count("\n")
    return "".join(parts)


def _pieces(text: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    """A well-formed XML in pieces, each with how a value is written there: CDATA knows no escapes."""
    at = 0
    for match in _CDATA.finditer(text):
        if match["cdata"]:
            yield text[at : match.start()], escaped_xml
            yield match["cdata"], _cdata
            at = match.end()
    yield text[at:], escaped_xml


def escaped_xml(value: str) -> str:
    """A value as XML text or attribute; characters that XML cannot hold are refused."""
    return escape(_xml_characters(value), _XML_ESCAPES)


def _cdata(value: str) -> str:
    return _xml_characters(value).replace("]]>", "]]]]><![CDATA[>")


def _xml_characters(value: str) -> str:
    if _XML_CANNOT_HOLD.search(value):
        raise TemplateInvalidError(f"the variable value {value[:40]!r} has characters that XML cannot hold.")
    return value


def substituted(
    text: str,
    values: Mapping[str, str],
    *,
    origin: str,
    quote: Callable[[str], str] = str,
    first_line: int = 1,
) -> str:
    """The text with each `{key}` filled in through `quote`.

    `{{key}}` stands for `{key}` itself; braces around anything but a word are left alone (JSON in
    a QEMU command line).

    Raises:
        TemplateInvalidError: an unknown variable; names the line.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is not None:
            return f"{{{match[1]}}}"
        if match[2] not in values:
            line = text.count("\n", 0, match.start()) + first_line
            raise TemplateInvalidError(
                f"{origin}:{line}: unknown variable {{{match[2]}}}, known are {', '.join(sorted(values))}.",
                advice=f"Maybe add it to the guest's vars, or write {{{{{match[2]}}}}} for the braces themselves.",
            )
        return quote(values[match[2]])

    return _VARIABLE.sub(replace, text)
