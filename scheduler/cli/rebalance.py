"""`numaplace rebalance`: what to move, and in which order, so that things get better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.objective import aim_options
from scheduler.cli.options import SizeType, hosts_options, ledger_option, time_limit_option
from scheduler.cli.output import columns, emit, output_option, worst_status

if TYPE_CHECKING:
    from policies.objective import Objective
    from policies.plan import Placement
    from policies.rebalance.question import Question, Rebalancing
    from policies.request import GuestRequest
    from scheduler.rebalancing import Held

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--for", "for_path", type=_FILE, metavar="FLEET", help="Make the guests of this file fit.")
@click.option(
    "--fleet",
    "fleet_path",
    type=_FILE,
    metavar="FLEET",
    help="What guests that are there ask for beside what the books tell: hosts, max_distance, groups.",
)
@click.option(
    "--migrate",
    is_flag=True,
    help="Guests may go to other hosts of the same hypervisor; where not to all, --fleet says so.",
)
@click.option(
    "--most-moves", type=click.IntRange(min=0), default=10, show_default=True, help="Most steps, of any kind."
)
@click.option(
    "--most-memory",
    type=SizeType(),
    default="64GiB",
    show_default=True,
    metavar="SIZE",
    help="Most memory that is copied in all.",
)
@time_limit_option("How long steps are looked for.")
@click.option(
    "--commands",
    "with_commands",
    is_flag=True,
    help="Show the commands that carry each step out by hand (virsh, xl), too.",
)
@aim_options
@hosts_options
@ledger_option
@output_option
def rebalance(
    for_path: Path | None,
    fleet_path: Path | None,
    migrate: bool,
    most_moves: int,
    most_memory: int,
    time_limit: float,
    with_commands: bool,
    aim: Objective,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    output: str,
) -> int:
    """List the steps after which guests of the books span fewer nodes, lie nearer, and use fewer hosts.

    --packing and --objective say what else is to get better instead. With --for: after which guests of
    FLEET that have no place now find one. A step pins a guest anew on its nodes, moves its memory to another
    node while it runs, or migrates it. Each can be done when those before it are done; during it old and new
    place are both held. Nothing is changed anywhere. Exit status 3 when guests of --for still have no place,
    6 when a host could not be reached and was left out.
    """
    from policies.rebalance.question import Budget
    from policies.rebalance.rebalance import rebalance as solved
    from probe.errors import BadInputError
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.ledger import open_ledger
    from scheduler.planning import away_hosts, view_hosts
    from scheduler.rebalance_commands import commands_of
    from scheduler.rebalancing import Wish, question_of

    told, asked = _requests(fleet_path), _requests(for_path)
    configs = read_configs(hosts, hosts_path)
    reading = read_all(configs)
    books = open_ledger(ledger)
    views = view_hosts(configs, reading.snapshots, books)
    claims = books.claims()
    known = {claim.guest for claim in claims}
    wish = Wish(
        told={request.name: request for request in (*told, *asked)},
        wanted=tuple(request for request in asked if request.name not in known),
        budget=Budget(most_moves=most_moves, most_memory_kib=most_memory),
        migrate=migrate,
        objective=aim,
    )
    if for_path and not wish.wanted:
        raise BadInputError(f"{for_path}: its guests are all in the books.", advice="Maybe --fleet is meant.")
    question, held = question_of(views, claims, wish, away_hosts(configs, reading.snapshots, books))
    with progress(f"searching among {len(question.guests)} guests on {len(views)} hosts, at most {time_limit:.0f}s"):
        found = solved(question, time_limit)
    by_name = {config.name: config for config in configs}
    hands = [commands_of(step, by_name, question.fleet.host(step.target.host).hypervisor) for step in found.steps]
    text = f"{_table(question, found, held, time_limit)}{_by_hand(found, hands, wanted=with_commands)}"
    emit(_document(question, found, held, hands), output, lambda: text)
    return worst_status([3] * (len(found.placed) < len(wish.wanted)) + [6] * bool(reading.unreached))


def _requests(path: Path | None) -> list[GuestRequest]:
    from scheduler.definitions.size_of import template_size
    from scheduler.files.fleet_file import read_fleet

    return [guest.request for guest in read_fleet(path, template_size)[0]] if path is not None else []


def _document(
    question: Question, found: Rebalancing, held: Sequence[Held], hands: Sequence[tuple[str, ...]]
) -> dict[str, Any]:
    from policies.plan_json import decision_to_json

    placed = {placement.guest for placement in found.placed}
    return {
        "schema": 1,
        "proven_minimal": found.proven,
        "limited_by": found.limit.value,
        "quick_way_ended": found.looked_through,
        "steps": [
            {
                "step": i,
                "guest": step.origin.guest,
                "what": step.kind.value,
                "moved_kib": step.kib,
                "commands": [*commands],
                "from": decision_to_json(step.origin),
                "to": decision_to_json(step.target),
            }
            for i, (step, commands) in enumerate(zip(found.steps, hands, strict=True), 1)
        ],
        "placed": [decision_to_json(placement) for placement in found.placed],
        "no_place": [request.name for request in question.wanted if request.name not in placed],
        "objective": [
            {"tier": old.tier, "name": old.name, "before": old.value, "after": new.value}
            for old, new in zip(found.before, found.after, strict=True)
        ],
        "moved_kib": found.moved_kib,
        "budget": {"moves": question.budget.most_moves, "memory_kib": question.budget.most_memory_kib},
        "held": [{"guest": each.guest, "host": each.host, "why": each.why, "wholly": each.wholly} for each in held],
    }


def _table(question: Question, found: Rebalancing, held: Sequence[Held], time_limit: float) -> str:
    """Steps, who then goes where, what it is worth, and who is held by what."""
    from scheduler.cli.plan import placement_rows

    parts = []
    if found.steps:
        parts.append(columns(("STEP", "GUEST", "WHAT", "FROM", "TO", "MEMORY"), _step_rows(found)))
    if found.placed:
        header = ("NEW GUEST", "HOST", "NODES", "CPUS", "", "MEMORY", "MODE")
        parts.append(columns(header, [row for placement in found.placed for row in placement_rows(placement)]))
    placed = {placement.guest for placement in found.placed}
    if lost := [request.name for request in question.wanted if request.name not in placed]:
        parts.append(f"No place: {', '.join(lost)}")
    rows = [(o.tier, o.name, o.value, n.value) for o, n in zip(found.before, found.after, strict=True)]
    parts.append(columns(("TIER", "OBJECTIVE", "BEFORE", "AFTER"), rows))
    parts.append(_summary(question, found, time_limit))
    if held:
        parts.append(columns(("GUEST", "HOST", "HELD"), [(each.guest, each.host, each.why) for each in held]))
    return "\n\n".join(parts)


def _by_hand(found: Rebalancing, hands: Sequence[tuple[str, ...]], *, wanted: bool) -> str:
    """The commands, one step after the other, for a shell; or where they are not wanted that there are some."""
    if not wanted:
        hint = "\n\nThe commands that carry out each step: numaplace rebalance … --commands"
        return hint if any(hands) else ""
    if not found.steps:
        return "\n\nNo steps, no commands."
    lines = [
        "",
        "# One step after the other; plan and apply nothing else meanwhile. A guest is adopted again after its step:",
        "# from then on the books know neither its groups nor its priority, and `rebalance` leaves it alone.",
    ]
    for i, (step, commands) in enumerate(zip(found.steps, hands, strict=True), 1):
        lines += ["", f"# step {i}: {step.kind.value} {step.origin.guest}"]
        lines += commands or (f"# {step.target.host} takes no such commands: it is embedded, or a recording",)
    return "\n" + "\n".join(lines)


def _step_rows(found: Rebalancing) -> list[tuple[object, ...]]:
    from probe.units import format_kib_rounded

    return [
        (
            i,
            step.origin.guest,
            step.kind.value,
            _where(step.origin),
            _where(step.target),
            format_kib_rounded(step.kib) if step.kib else "stays",
        )
        for i, step in enumerate(found.steps, 1)
    ]


def _where(placement: Placement) -> str:
    """ "h1 node 0, CPUs 0-3"; the memory's nodes too where they are others."""
    if placement.cpu_nodes is None:
        return f"{placement.host}, not pinned"
    nodes, memory = placement.cpu_nodes, placement.memory_nodes
    text = f"{placement.host} node{'s' * (len(nodes) > 1)} {nodes}"
    return text + (f" (memory {memory})" if memory != nodes else "") + f", CPUs {placement.cpus}"


def _summary(question: Question, found: Rebalancing, time_limit: float) -> str:
    from probe.units import format_kib_rounded as size

    why = _why_not_proven(found, time_limit)
    budget = f"{len(found.steps)} of {question.budget.most_moves} steps"
    budget += f", {size(found.moved_kib)} of {size(question.budget.most_memory_kib)} copied"
    if found.steps:
        proven = "proven minimal" if found.proven else f"not proven minimal: {why}"
        return f"{budget}: {proven}. Nothing was changed."
    if question.wanted and len(found.placed) == len(question.wanted):
        return "No step is needed: the guests fit as things are."
    if not question.guests:
        return "Nothing can be moved."
    within = f"Within {question.budget.most_moves} steps and {size(question.budget.most_memory_kib)}"
    if found.proven:
        return f"{within}, nothing helps: proven."
    if not found.looked_through:
        return f"{why.capitalize()} before anything was found that helps. Maybe a longer --time-limit finds some steps."
    return f"{within}, the quick way found nothing that helps. Whether anything does is not proven: {why}."


def _why_not_proven(found: Rebalancing, time_limit: float) -> str:
    """What ended the search, or limited it, as the beginning of a sentence."""
    from policies.rebalance.question import Limit

    return {
        Limit.NONE: "",
        Limit.TIME: f"the time limit of {time_limit:g}s was over",
        Limit.STATES: "the search ended because there are more states than it remembers",
        Limit.WAYS: "not every way to live anywhere was looked at, or counts of pCPUs do not tell all",
    }[found.limit]
