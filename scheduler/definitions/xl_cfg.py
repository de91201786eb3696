"""A placement merged into an xl.cfg. Only the assignments that we own are touched.

`cpus` is written as a *list* with an entry for each maximum vCPU. A string `cpus="4-5"` leaves
automatic placement on, and the memory goes to another node (measured on Xen 4.17.7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from policies.plan import Placement
from probe.mark import XL_MARK
from scheduler.definitions.errors import TemplateInvalidError
from scheduler.definitions.guest_size import memory_mib
from scheduler.definitions.identity import Identity
from scheduler.definitions.spans import Edit, apply_edits, remove
from scheduler.definitions.template import Template, conflict, substituted
from scheduler.definitions.xl_grammar import Assignment, Value, last_values, number, parse_xl_cfg, quoted, tokens

_PINS = ("cpus", "cpus_soft", "vnuma", "pool")
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_VIF_MAC = re.compile(rf"\bmac\s*=\s*(?P<mac>{_MAC.pattern})\s*,?\s*")
_NUMBER = re.compile(r"[0-9][0-9a-fx]*")


def merged_xl_cfg(template: Template, placement: Placement, identity: Identity | None) -> str:
    """The template with name, uuid, our mark, size and pins in it, every other character as it was.

    Raises:
        DefinitionConflictError: the template places the guest itself, or has another size.
        TemplateInvalidError, SourceMalformedError: it is no template.
    """
    text = filled_xl(template, placement.guest)
    if identity is not None:
        text = _without_literal_macs(XL_MARK.sub("", text), template)
    assignments = parse_xl_cfg(text, origin=template.origin)
    told = last_values(assignments, origin=template.origin)
    _check_size(template, placement, told)
    _check_pins(template, placement, assignments)
    ours = _ours(placement, identity, told)
    edits = [remove(text, each.start, each.end) for each in assignments if each.key in ours or each.key in _PINS]
    body = apply_edits(text, edits)
    mark = "" if identity is None else f"# numaplace ledger={identity.ledger} claim={identity.claim}\n"
    written = "".join(f"{key} = {value}\n" for key, value in ours.items())
    return f"{body}{'' if body.endswith(chr(10)) or not body else chr(10)}{mark}{written}"


def filled_xl(template: Template, name: str) -> str:
    """The xl.cfg with its variables filled in: none can end a string or a line.

    Raises:
        TemplateInvalidError: an unknown variable (names the line), one outside a string that is no
            number, or a value that xl cannot write.
        SourceMalformedError: the template is no xl.cfg.
    """
    if template.is_filled:
        return template.text
    values = template.values(name)
    quotes = {"string": _in_string, "end": _in_string, "variable": _bare_number}
    return "".join(
        substituted(token.text, values, origin=template.origin, quote=quotes[token.kind], first_line=token.line)
        if token.kind in quotes
        else token.text
        for token in tokens(template.text, origin=template.origin)
    )


def _in_string(value: str) -> str:
    written = quoted(value)
    if written is None:
        raise TemplateInvalidError(f"the variable value {value[:40]!r} has characters that an xl.cfg cannot hold.")
    return written


def _bare_number(value: str) -> str:
    if _NUMBER.fullmatch(value) is None:
        raise TemplateInvalidError(
            f"the variable value {value[:40]!r} stands outside a string, and is no number.",
            advice="Maybe put quotes around it in the template.",
        )
    return value


def _ours(placement: Placement, identity: Identity | None, told: Mapping[str, Value]) -> Mapping[str, str]:
    """The assignments that the plan answers for."""
    pins = {vcpu: cpus for cell in placement.cells for vcpu, cpus in cell.pins.items()}
    vcpus = _vcpus(placement)
    online = number(told.get("vcpus")) if "maxvcpus" in told else None
    return {
        "name": f'"{placement.guest}"',
        **({} if identity is None else {"uuid": f'"{identity.uuid}"'}),
        "memory": str(memory_mib(placement)),
        "vcpus": str(online or vcpus),  # fewer than the maximum may be online
        "maxvcpus": str(vcpus),
        **({"cpus": "[" + ", ".join(f'"{pins[vcpu]}"' for vcpu in range(vcpus)) + "]"} if pins else {}),
    }


def _without_literal_macs(text: str, template: Template) -> str:
    """A MAC that the template writes out would be every guest's; xl makes one. One with a variable stays."""
    written = {mac.lower() for mac in _MAC.findall(template.text)}
    edits = []
    for each in parse_xl_cfg(text, origin=template.origin):
        if each.key == "vif":
            kept = _VIF_MAC.sub(lambda m: "" if m["mac"].lower() in written else m[0], text[each.start : each.end])
            edits.append(Edit(each.start, each.end, kept))
    return apply_edits(text, edits)


def _check_size(template: Template, placement: Placement, told: Mapping[str, Value]) -> None:
    mib = memory_mib(placement)
    for key, wanted in (
        ("maxvcpus" if "maxvcpus" in told else "vcpus", _vcpus(placement)),
        ("memory", mib),
        ("maxmem", mib),
    ):
        if key in told and number(told[key]) != wanted:
            raise conflict(template, placement.guest, f"`{key}` says {told[key]!s:.40} and the plan {wanted}")


def _check_pins(template: Template, placement: Placement, assignments: Sequence[Assignment]) -> None:
    for each in assignments:
        if each.key in _PINS and not template.replace_pins:
            why = f"line {each.line}: the template places the guest itself by `{each.key}`"
            raise conflict(template, placement.guest, why, pins=True)


def _vcpus(placement: Placement) -> int:
    return sum(len(cell.vcpus) for cell in placement.cells)
