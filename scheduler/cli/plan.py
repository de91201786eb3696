"""`numaplace plan`: who goes where, who does not, and how good the whole is."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from probe.cpuset import CpuSet
from scheduler.cli.objective import objective_options
from scheduler.cli.options import effort_options, hosts_options, ledger_option, policy_option, what_if_option
from scheduler.cli.output import columns, emit, output_option, worst_status, write_file

if TYPE_CHECKING:
    from policies.plan import PlacedCell, Placement, Plan, Rejection, Tier
    from policies.policy import Effort


@click.command()
@click.argument("fleet", type=click.Path(path_type=Path, dir_okay=False))
@hosts_options
@policy_option
@effort_options
@objective_options
@ledger_option
@what_if_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write the plan file that apply takes.")
@output_option
def plan(
    fleet: Path,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    policy: str,
    effort: Effort,
    ledger: str | None,
    what_if: tuple[str, ...],
    out: Path | None,
    output: str,
) -> int:
    """Choose a home for every guest of FLEET (YAML or JSON), and say why some have none.

    Guests that are in the books already keep their homes.
    Nothing is changed anywhere. Exit status 3 when some guest has no place, 6 when a host could
    not be reached and was left out.
    """
    from policies.plan import Rejection
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.cli.what_if import around, emit_losses, with_what_if
    from scheduler.definitions.size_of import template_size
    from scheduler.files.fleet_file import read_fleet
    from scheduler.guest_template import check_templates
    from scheduler.ledger import open_ledger
    from scheduler.plan_file import plan_file_to_json
    from scheduler.what_if import lose_each, plan_supposed, suppose
    from scheduler.what_if.change import one_by_one, parse_changes
    from scheduler.what_if.supposed import Supposed

    asked = parse_changes(what_if)
    changes, each = one_by_one(asked)
    if each and out:
        raise click.UsageError(f"--what-if {each} makes a plan for each host, and --out takes one.")
    guests, templates = read_fleet(fleet, template_size)
    check_templates(guests, templates)
    configs = read_configs(hosts, hosts_path)
    reading = read_all(configs)
    supposed = suppose(Supposed.as_it_is(guests, configs, reading.snapshots, open_ledger(ledger)), changes)
    settled = supposed.standing.homes
    limit = f", at most {effort.time_limit_s:.0f}s" if effort.time_limit_s else ""
    what = f"placing {len(supposed.guests) - len(settled)} guests on {len(supposed.views)} hosts{limit}"
    if each:
        with progress(f"{what} for each", total=len(supposed.views)) as step:
            losses = list(lose_each(supposed, templates, policy, effort, step))
        return worst_status([emit_losses(losses, asked, output), 6 * bool(reading.unreached)])
    with progress(what):
        made = plan_supposed(supposed, templates, policy, effort)
    document = with_what_if(plan_file_to_json(made), supposed)
    if out:
        write_file(out, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    emit(document, output, lambda: around(plan_table(made.plan, settled), supposed))
    if out:
        use = "it is hypothetical, and apply refuses it" if changes else f"`numaplace apply {out}` creates the guests"
        click.echo(f"wrote {out}; {use}", err=True)
    refused = any(isinstance(decision, Rejection) for decision in made.plan.decisions) or bool(supposed.not_planned)
    return worst_status([3] * refused + [6] * bool(reading.unreached))


def plan_table(made: Plan, settled: Collection[str]) -> str:
    """The plan for people: placements, refusals with their reasons, and how good it is."""
    from policies.plan import Placement, Rejection

    placed = [d for d in made.decisions if isinstance(d, Placement)]
    refused = [d for d in made.decisions if isinstance(d, Rejection)]
    parts = []
    if placed:
        header = ("GUEST", "HOST", "NODES", "CPUS", "", "MEMORY", "MODE")
        parts.append(columns(header, [row for d in placed for row in placement_rows(d)]))
    if refused:
        parts.append("\n".join(refusal_line(rejection) for rejection in refused))
    if settled:
        parts.append(f"Already in the books, and staying where they are: {', '.join(sorted(settled))}")
    if len(settled) < len(made.decisions):
        parts.append(_summary(made, len(placed) - len(settled), len(made.decisions) - len(settled)))
    return "\n\n".join(parts)


def placement_rows(decision: Placement) -> list[tuple[str, ...]]:
    """One row per guest cell; the guest's name stands on the first."""
    from probe.units import format_kib_rounded

    rows: list[tuple[str, ...]] = []
    for cell in decision.cells:
        memory = " + ".join(
            f"{format_kib_rounded(m.kib)}{'' if m.node_id is None else f' on {m.node_id}'}"
            + ("" if m.page_kib == 4 else f" in {format_kib_rounded(m.page_kib)} pages")
            for m in cell.memory
        )
        rows.append(
            (
                decision.guest if cell.cell == 0 else "",
                decision.host if cell.cell == 0 else "",
                "any" if cell.cpu_nodes is None else str(cell.cpu_nodes),
                "any" if cell.cpus is None else str(cell.cpus),
                _cpus_text(decision, cell),
                memory,
                cell.memory_mode.value,
            )
        )
    return rows


def _cpus_text(decision: Placement, cell: PlacedCell) -> str:
    """ "shared", "dedicated", or "own 0-1" where only these of the cell's pCPUs are one vCPU's own each."""
    own = cell.vcpus & decision.dedicated_vcpus
    if not own:
        return "shared"
    return "dedicated" if own == cell.vcpus else f"own {CpuSet.union(cell.pins[vcpu] for vcpu in own)}"


def _summary(made: Plan, placed: int, asked: int) -> str:
    """One line on the whole and one per tier of the objective."""
    limit = f", limited by {made.limited_by}" if made.limited_by else ""
    head = f"{placed} of {asked} guests placed by {made.policy} in {made.wall_s:.2f}s: {made.status.value}{limit}."
    if not made.objective:
        return head
    rows = [(t.tier, t.name, t.value, t.bound, _gap(t)) for t in made.objective]
    return f"{head}\n\n{columns(('TIER', 'OBJECTIVE', 'VALUE', 'BOUND', 'GAP'), rows)}"


def _gap(tier: Tier) -> str | None:
    if tier.constant:
        return "constant"
    if tier.gap is None:
        return None
    return "proven" if tier.gap == 0 else f"{tier.gap:.2%}"


def refusal_line(rejection: Rejection) -> str:
    """Why a guest has no place, and what would make it fit."""
    fits_if = f"\n    It would fit if: {rejection.fits_if}" if rejection.fits_if else ""
    return f"{rejection.guest}: no place ({rejection.reason.value}): {rejection.detail}{fits_if}"
