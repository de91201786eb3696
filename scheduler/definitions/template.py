"""Templates: a user's own domain XML or xl.cfg, and the minimal ones for guests that have none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from scheduler.definitions.errors import TemplateInvalidError
from scheduler.executors.port import DefinitionKind

_VARIABLE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")

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
        variables: what `{key}` becomes, `{name}` and `{index}` apart.
        replace_pins: give up pins that the text has; without it they are an error.
        is_filled: the text is a guest's own definition, in which braces are only braces.
    """

    text: str
    origin: str
    variables: Mapping[str, str] = field(default_factory=dict)
    index: int = 1
    replace_pins: bool = False
    is_filled: bool = False


def default_template(kind: DefinitionKind, variables: Mapping[str, str] | None = None) -> Template:
    """The minimal template of one kind of definition."""
    return Template(
        text=_DEFAULTS[kind],
        origin=f"built-in {kind.value} template",
        variables={**_DEFAULT_VARIABLES, **(variables or {})},
    )


def is_xml(text: str) -> bool:
    """Whether a template is a domain XML; else it is an xl.cfg."""
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def filled(template: Template, name: str, quote: Callable[[str], str]) -> str:
    """The text with `{name}`, `{index}` and the variables filled in, each through `quote`.

    Variables may themselves hold `{name}` and `{index}`. `{{` and `}}` stand for braces; braces
    around anything but a word are left alone (JSON in a QEMU command line).

    Raises:
        TemplateInvalidError: an unknown variable; names the line.
    """
    if template.is_filled:
        return template.text
    own = {"name": name, "index": str(template.index)}
    known = {key: _substituted(value, own, template.origin) for key, value in template.variables.items()}
    return _substituted(template.text, {k: quote(v) for k, v in {**known, **own}.items()}, template.origin)


def escaped_xml(value: str) -> str:
    """A value as XML text or attribute; characters that XML cannot hold are refused."""
    if re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", value):
        raise TemplateInvalidError(f"the variable value {value[:40]!r} has characters that XML cannot hold.")
    return escape(value, {'"': "&quot;", "'": "&apos;"})


def _substituted(text: str, known: Mapping[str, str], origin: str) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in known:
            line = text.count("\n", 0, match.start()) + 1
            raise TemplateInvalidError(
                f"{origin}:{line}: unknown variable {{{match[1]}}}, known are {', '.join(sorted(known))}.",
                advice=f"Maybe add it to the guest's vars, or write {{{{{match[1]}}}}} for the braces themselves.",
            )
        return known[match[1]]

    return _VARIABLE.sub(replace, text)
