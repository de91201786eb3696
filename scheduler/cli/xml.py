"""`numaplace xml`: a domain XML in, the same with its placement out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scheduler.cli.options import effort_options, hosts_options, policy_option, shape_options

if TYPE_CHECKING:
    from policies.policy import Effort
    from policies.request import Cells


@click.command()
@hosts_options
@policy_option
@effort_options
@shape_options
@click.option("--replace-pins", is_flag=True, help="Give up the pins that the XML has.")
def xml(
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    policy: str,
    effort: Effort,
    cells: Cells,
    dedicated: bool,
    replace_pins: bool,
) -> int:
    """Read a domain XML from standard input, choose its home, print it with the placement merged in.

    Everything else stays as it is. Nothing is changed anywhere. Exit status 3 when it has no place.
    """
    from policies.plan import Rejection
    from policies.request import CpuPolicy, GuestName, GuestRequest
    from probe.errors import BadInputError
    from probe.limits import DEFAULT_LIMITS
    from probe.safe_xml import parse_xml
    from scheduler.cli.advising import choose_home, definition_kind
    from scheduler.definitions.render import definition_of
    from scheduler.definitions.size_of import template_size
    from scheduler.definitions.template import Template

    text = sys.stdin.read(DEFAULT_LIMITS.file_bytes + 1)
    name = (parse_xml(text, origin="standard input").findtext("name") or "").strip()
    size = template_size(text, "standard input")
    if not name or size.vcpus is None or size.memory_kib is None:
        raise BadInputError("standard input: expected a domain XML with <name>, <vcpu> and <memory>.")
    request = GuestRequest(
        name=GuestName(name),
        vcpus=size.vcpus,
        memory_kib=size.memory_kib,
        page_kib=size.page_kib or 4,
        cells=cells,
        cpus=CpuPolicy.DEDICATED if dedicated else CpuPolicy.SHARED,
    )
    decision, snapshot = choose_home(request, hosts or (() if hosts_path else ("sysfs:",)), hosts_path, policy, effort)
    if isinstance(decision, Rejection):
        click.echo(f"no place ({decision.reason.value}): {decision.detail}", err=True)
        return 3
    template = Template(text=text, origin="standard input", replace_pins=replace_pins)
    merged = definition_of(decision, definition_kind(snapshot), template=template, topology=snapshot.topology)
    click.echo(merged.text, nl=False)
    return 0
