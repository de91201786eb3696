"""`numaplace xml`: a domain XML in, the same with its placement out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.options import effort_options, hosts_options, policy_option, shape_options
from scheduler.cli.output import emit, output_option

if TYPE_CHECKING:
    from policies.policy import Effort


@click.command()
@hosts_options
@policy_option
@effort_options
@shape_options
@click.option("--replace-pins", is_flag=True, help="Give up the pins that the XML has.")
@output_option
def xml(
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    policy: str,
    effort: Effort,
    asked: Mapping[str, Any],
    replace_pins: bool,
    output: str,
) -> int:
    """Read a domain XML from standard input, choose its home, print it with the placement merged in.

    Everything else stays as it is, its uuid and MAC addresses too. Nothing is changed anywhere.
    Exit status 3 when it has no place.
    """
    from policies.plan import Rejection
    from policies.plan_json import decision_to_json
    from policies.request import GuestName, GuestRequest
    from probe.errors import BadInputError
    from probe.limits import DEFAULT_LIMITS
    from probe.safe_xml import parse_xml
    from probe.snapshot import Hypervisor
    from scheduler.cli.advising import choose_home, definition_kind, would_fit
    from scheduler.definitions.render import definition_of
    from scheduler.definitions.size_of import template_size
    from scheduler.definitions.template import Template

    text = sys.stdin.read(DEFAULT_LIMITS.file_bytes + 1)
    domain = parse_xml(text, origin="standard input")
    name = (domain.findtext("name") or "").strip()
    size = template_size(text, "standard input")
    if domain.tag != "domain" or not name or size.vcpus is None or size.memory_kib is None:
        raise BadInputError("standard input: expected a domain XML with <name>, <vcpu> and <memory>.")
    request = GuestRequest(
        name=GuestName(name),
        vcpus=size.vcpus,
        memory_kib=size.memory_kib,
        page_kib=size.page_kib or 4,
        **asked,
    )
    wanted = hosts or (() if hosts_path else ("sysfs:",))
    hypervisor = Hypervisor.XEN if domain.get("type") == "xen" else Hypervisor.KVM
    decision, snapshot = choose_home(request, wanted, hosts_path, policy, effort, hypervisor=hypervisor)
    document = {"schema": 1, "decision": decision_to_json(decision)}
    if isinstance(decision, Rejection):
        click.echo(f"no place ({decision.reason.value}): {decision.detail}{would_fit(decision, _way)}", err=True)
        if output != "table":
            emit(document, output, str)
        return 3
    template = Template(text=text, origin="standard input", replace_pins=replace_pins, is_filled=True)
    merged = definition_of(decision, definition_kind(snapshot), template=template, topology=snapshot.topology)
    emit({**document, "definition": merged.text}, output, lambda: merged.text.removesuffix("\n"))
    return 0


_ELEMENTS = {"page_size": "memoryBacking/hugepages", "memory": "memory", "vcpus": "vcpu"}
"""Where a change of the XML itself is made."""


def _way(changed: Mapping[str, str]) -> str:
    """How `xml` is told of a change: "in the XML: <memory>"."""
    elements = [f"<{_ELEMENTS[key]}>" for key in _ELEMENTS if key in changed]
    return f"in the XML: {', '.join(elements)}" if elements else ""
