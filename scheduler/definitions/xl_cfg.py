"""A placement merged into an xl.cfg.

xl.cfg(5) looks like Python: `key = value`, values are numbers, strings and lists of them. Only the
assignments that we own are touched; every other byte stays.

`cpus` is written as a *list* with an entry for each maximum vCPU. A string `cpus="4-5"` leaves
automatic placement on, and the memory goes to another node (measured on Xen 4.17.7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from policies.plan import Placement
from probe.errors import SourceMalformedError
from scheduler.definitions.errors import DefinitionConflictError, TemplateInvalidError
from scheduler.definitions.identity import Identity
from scheduler.definitions.spans import Edit, apply_edits
from scheduler.definitions.template import Template, filled

Value = int | str | list["Value"]

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r]+|\#[^\n]*|\\\n)|(?P<end>[\n;])|(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>"[^"\n]*"|'[^'\n]*')|(?P<number>-?(?:0[xX][0-9A-Fa-f]+|\d+))|(?P<mark>\+=|[=\[\],])""",
    re.VERBOSE,
)
_OUR_PINS = ("cpus", "cpus_soft", "vnuma", "pool")
_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_VIF_MAC = re.compile(rf"\bmac\s*=\s*(?P<mac>{_MAC.pattern})\s*,?\s*")
_MARK = re.compile(r"^# numaplace ledger=(\S+) claim=(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `key = value`, with its place in the text (from the key to the end of the value)."""

    key: str
    value: Value
    start: int
    end: int
    line: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    line: int


def parse_xl_cfg(text: str, *, origin: str) -> tuple[Assignment, ...]:
    """Every assignment of an xl.cfg, in order; a later one of the same key wins, as in xl.

    Raises:
        SourceMalformedError: names the line.
    """
    tokens = _tokens(text, origin)
    found: list[Assignment] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.kind == "end":
            position += 1
            continue
        if (
            token.kind != "name"
            or tokens[position + 1 : position + 2] == []
            or tokens[position + 1].text not in ("=", "+=")
        ):
            raise SourceMalformedError(f"{origin}:{token.line}", "key = value", token.text)
        value, after = _value(tokens, position + 2, origin, token.line)
        found.append(Assignment(token.text, value, token.start, tokens[after - 1].end, token.line))
        position = after
        if position < len(tokens) and tokens[position].kind != "end":
            raise SourceMalformedError(f"{origin}:{tokens[position].line}", "a new line", tokens[position].text)
    return tuple(found)


def last_values(assignments: tuple[Assignment, ...]) -> Mapping[str, Value]:
    """Key to its value; the last assignment wins."""
    return {each.key: each.value for each in assignments}


def read_mark(text: str) -> tuple[str | None, str | None]:
    """(ledger id, claim id) of our comment line; None where there is none. xl keeps no metadata."""
    match = _MARK.search(text)
    return (None, None) if match is None else (match[1], match[2])


def merged_xl_cfg(template: Template, placement: Placement, identity: Identity | None) -> str:
    """The template with name, uuid, our mark, size and pins in it, the rest byte for byte.

    Raises:
        DefinitionConflictError: the template places the guest itself, or has another size.
        TemplateInvalidError, SourceMalformedError: it is no template.
    """
    text = filled(template, placement.guest, _quotable)
    if identity is not None:
        text = _without_literal_macs(_MARK.sub("", text), template)
    assignments = parse_xl_cfg(text, origin=template.origin)
    vcpus = sum(len(cell.vcpus) for cell in placement.cells)
    memory_mib = _mib(placement)
    told = last_values(assignments)
    _check_size(template, placement, told, vcpus, memory_mib)
    ours: dict[str, str] = {
        "name": f'"{placement.guest}"',
        **({} if identity is None else {"uuid": f'"{identity.uuid}"'}),
        "memory": str(memory_mib),
        "vcpus": str(told["vcpus"] if {"vcpus", "maxvcpus"} <= set(told) else vcpus),  # fewer may be online
        "maxvcpus": str(vcpus),
    }
    pins = {vcpu: cpus for cell in placement.cells for vcpu, cpus in cell.pins.items()}
    if pins:
        ours["cpus"] = "[" + ", ".join(f'"{pins[vcpu]}"' for vcpu in range(vcpus)) + "]"
    edits = []
    for each in assignments:
        if each.key in _OUR_PINS:
            if not template.replace_pins:
                raise _conflict(template, placement, f"line {each.line}: it places the guest itself by `{each.key}`")
            edits.append(_line_out(text, each))
        elif each.key in ours:
            edits.append(_line_out(text, each))
    body = apply_edits(text, [_in_bytes(text, edit) for edit in edits]).rstrip("\n")
    marks = [] if identity is None else [f"# numaplace ledger={identity.ledger} claim={identity.claim}"]
    return "\n".join([body, *marks, *(f"{key} = {value}" for key, value in ours.items())]).lstrip("\n") + "\n"


def _without_literal_macs(text: str, template: Template) -> str:
    """A MAC that the template writes out would be every guest's; xl makes one. One with a variable stays."""
    written = {mac.lower() for mac in _MAC.findall(template.text)}
    edits = []
    for each in parse_xl_cfg(text, origin=template.origin):
        if each.key == "vif":
            kept = _VIF_MAC.sub(lambda m: "" if m["mac"].lower() in written else m[0], text[each.start : each.end])
            edits.append(_in_bytes(text, Edit(each.start, each.end, kept)))
    return apply_edits(text, edits)


def _check_size(
    template: Template, placement: Placement, told: Mapping[str, Value], vcpus: int, memory_mib: int
) -> None:
    for key, wanted in (
        ("maxvcpus" if "maxvcpus" in told else "vcpus", vcpus),
        ("memory", memory_mib),
        ("maxmem", memory_mib),
    ):
        if key in told and str(told[key]) != str(wanted):
            raise _conflict(template, placement, f"`{key}` says {told[key]} and the plan {wanted}")


def _mib(placement: Placement) -> int:
    kib = sum(memory.kib for cell in placement.cells for memory in cell.memory)
    if kib % 1024:
        raise DefinitionConflictError(
            f"guest {placement.guest}: {kib} KiB is not whole MiB, which xl counts in.",
            advice="Maybe round its memory up to MiB.",
        )
    return kib // 1024


def _conflict(template: Template, placement: Placement, why: str) -> DefinitionConflictError:
    return DefinitionConflictError(
        f"{template.origin}: guest {placement.guest}: {why}.",
        advice="Maybe take it out of the template, or give up its pins: `replace_pins: true`, --replace-pins.",
    )


def _quotable(value: str) -> str:
    """A value for an xl.cfg string. xl has no escapes, so quotes and line ends cannot be written."""
    if any(character in value for character in "\"'\n\r\\#;[]") or not value.isprintable():
        raise TemplateInvalidError(f"the variable value {value[:40]!r} cannot be written in an xl.cfg.")
    return value


def _line_out(text: str, each: Assignment) -> Edit:
    """Take an assignment out, and its line where it stands alone on one."""
    line_start = text.rfind("\n", 0, each.start) + 1
    line_end = text.find("\n", each.end)
    line_end = len(text) if line_end < 0 else line_end + 1
    if not text[line_start : each.start].strip() and not text[each.end : line_end].strip():
        return Edit(line_start, line_end, "")
    return Edit(each.start, each.end, "")


def _in_bytes(text: str, edit: Edit) -> Edit:
    return Edit(len(text[: edit.start].encode()), len(text[: edit.end].encode()), edit.text)


def _tokens(text: str, origin: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, depth, line = 0, 0, 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SourceMalformedError(f"{origin}:{line}", "an xl.cfg", text[position : position + 20])
        kind = str(match.lastgroup)
        depth += {"[": 1, "]": -1}.get(match[0], 0)
        if kind != "blank" and not (kind == "end" and match[0] == "\n" and depth > 0):
            tokens.append(_Token(kind, match[0], match.start(), match.end(), line))
        line += match[0].count("\n")
        position = match.end()
        if depth > 8:
            raise SourceMalformedError(f"{origin}:{line}", "at most 8 nested lists", match[0])
    return tokens


def _value(tokens: list[_Token], position: int, origin: str, line: int) -> tuple[Value, int]:
    """The value that begins at a position, and the position behind it."""
    if position >= len(tokens):
        raise SourceMalformedError(f"{origin}:{line}", "a value", "the end")
    token = tokens[position]
    if token.kind == "string":
        return token.text[1:-1], position + 1
    if token.kind == "number":
        return int(token.text, 0) if not token.text.lstrip("-0").isdigit() else int(token.text), position + 1
    if token.text != "[":
        raise SourceMalformedError(f"{origin}:{token.line}", "a number, a string or a list", token.text)
    values: list[Value] = []
    position += 1
    while position < len(tokens) and tokens[position].text != "]":
        if tokens[position].text == ",":
            position += 1
            continue
        value, position = _value(tokens, position, origin, line)
        values.append(value)
    if position >= len(tokens):
        raise SourceMalformedError(f"{origin}:{line}", "a list that ends with ]", "the end")
    return values, position + 1
