"""A guest's template with what its fleet file fills into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduler.definitions.template import Template, filled_xml, is_xml
from scheduler.definitions.xl_cfg import filled_xl
from scheduler.files.fleet_file import FleetGuest


def template_of(guest: FleetGuest, name: str, texts: Mapping[str, str]) -> Template:
    """The guest's template of this name; `texts` as in a plan file."""
    return Template(
        text=texts[name],
        origin=name,
        variables=guest.variables,
        index=guest.index,
        replace_pins=guest.replace_pins,
    )


def check_templates(guests: Iterable[FleetGuest], texts: Mapping[str, str]) -> None:
    """Fill each template in, once for guests with the same variables.

    Raises:
        TemplateInvalidError: an unknown variable, or a value that cannot stand there.
        SourceMalformedError: a template cannot be read.
    """
    seen: set[object] = set()
    for guest in guests:
        kind = (guest.template, frozenset(guest.variables.items()))
        if guest.template is None or kind in seen:
            continue
        seen.add(kind)
        template = template_of(guest, guest.template, texts)
        fill = filled_xml if is_xml(template.text) else filled_xl
        fill(template, guest.request.name)
