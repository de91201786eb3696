"""`numaplace explain`: why a guest of a plan has this place, or none, and what would help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scheduler.cli.options import hosts_options, ledger_option, time_limit_option
from scheduler.cli.output import columns, emit, output_option

if TYPE_CHECKING:
    from policies.plan import Tier
    from policies.why.account import Account
    from policies.why.change import Change
    from policies.why.changes import Changes
    from policies.why.explanation import Explanation

MOST_HOSTS_SHOWN = 10
MOST_CHANGES_SHOWN = 30


@click.command()
@click.argument("guest")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@time_limit_option("How long changes that would make it fit are looked for.")
@hosts_options
@ledger_option
@output_option
def explain(
    guest: str,
    plan: Path,
    time_limit: float,
    hosts: tuple[str, ...],
    hosts_path: Path | None,
    ledger: str | None,
    output: str,
) -> int:
    """Say why GUEST has its place in PLAN (a file that `plan -o` wrote), or none.

    Without a place: what each host lacks, if it would not fit alone; else who holds its place; and each change
    that would make it fit, tried beside the plan as it stands, or where none helps there in a new plan by the
    solver, in which nobody who has a place loses it. With a place: what it adds to each tier of the objective,
    and what its best other place would cost. The hosts are read again; a plan made with --what-if is explained
    on what it supposes. Exit status 6 when one could not be reached.
    """
    from policies.why.watch import Watch
    from scheduler.cli.progress import progress
    from scheduler.cli.sources import read_all, read_configs
    from scheduler.explaining import explain_guest
    from scheduler.ledger import open_ledger
    from scheduler.plan_file import read_plan_file
    from scheduler.what_if import suppose
    from scheduler.what_if.change import one_by_one, parse_changes
    from scheduler.what_if.supposed import Supposed

    file = read_plan_file(plan)
    changes, _ = one_by_one(parse_changes(file.hypothetical))
    names = {host.name for host in file.hosts}
    configs = [config for config in read_configs(hosts, hosts_path) if changes or config.name in names]
    reading = read_all(configs)
    supposed = suppose(Supposed.as_it_is((), configs, reading.snapshots, open_ledger(ledger)), changes)
    views = [view for view in supposed.views if view.config.name in names]
    with progress(f"explaining {guest}") as step:
        watch = Watch(time_limit, lambda what: step.tell("trying", what))
        explanation = explain_guest(guest, file, views, watch)
    emit(_document(explanation), output, lambda: "\n\n".join(_sections(guest, explanation)))
    return 6 if reading.unreached else 0


def _sections(guest: str, explanation: Explanation) -> Iterator[str]:
    from policies.plan import Placement, Rejection
    from policies.why.change import where

    decision = explanation.decision
    if isinstance(decision, Placement):
        yield f"{guest} is on {where(decision)}."
    if explanation.account is not None:
        yield from _account(explanation.account)
    if not isinstance(decision, Rejection):
        return
    yield f"{guest} has no place ({decision.reason.value}): {decision.detail}."
    if explanation.whole_groups:
        yield f"Its group {', '.join(explanation.whole_groups)} is all or nothing; by itself:"
    if explanation.causes:
        yield from _causes(explanation)
    if explanation.holders is not None:
        holders = explanation.holders
        who = ", ".join(holders.guests) or "nobody"
        home = where(holders.placement)
        yield f"It fits on {home} without {who}, who weigh {holders.weight} together (their priorities)."
    yield from _changes(explanation.changes)


def _changes(changes: Changes) -> Iterator[str]:
    from policies.why.change import where

    again = "" if changes.planned_again is None else _some(changes.planned_again)
    if again and changes.found:
        yield (
            f"No single change makes it fit beside the plan as it stands. In a new plan of {again}, in which nobody "
            "who has a place loses it and others may live elsewhere:"
        )
    texts = [
        (n, change.text, where(change.placement)) for n, change in enumerate(changes.found[:MOST_CHANGES_SHOWN], 1)
    ]
    if texts:
        yield columns(("", "IT WOULD FIT IF", "ON"), texts)
    else:
        yield "No single change was found that makes it fit" + (f", nor in a new plan of {again}." if again else ".")
    if (more := len(changes.found) - len(texts)) > 0:
        yield f"(and {more} more: --output json has them all)"
    if changes.found:
        yield "\n".join(_how(changes.found))
    if changes.limited_by:
        tried = f"{changes.moved} of {changes.could_move} guests whose move could help were tried elsewhere"
        missed = "" if changes.planned_again is None else ", and a new plan may exist that was not found"
        yield f"The search was ended by {changes.limited_by}: {tried}{missed}."


def _how(found: Sequence[Change]) -> Iterator[str]:
    """How such changes are made."""
    from policies.why.again import AS_IT_IS
    from policies.why.explanation import PINNED_ANEW

    texts = [change.text for change in found]
    moved, paged = ([text for text in texts if part in text] for part in (" moved to ", " pages on "))
    pinned = [text for text in texts if text.startswith(PINNED_ANEW)]
    if set(texts) - {AS_IT_IS, *moved, *paged, *pinned}:
        yield "A change with a colon is made in the fleet file: a key of the guest and its value."
    if moved:
        yield (
            "Another guest is moved by planning again (--policy solver); one that runs, by the steps that "
            "`numaplace rebalance --for FLEET` lists."
        )
    if pinned:
        yield (
            "Guests that run keep their pCPUs when others are planned: `numaplace rebalance --for FLEET` looks for "
            "steps that pin them anew."
        )
    if paged:
        yield "More huge pages are made on the host: nr_hugepages in /sys/devices/system/node/nodeN/hugepages."
    if any(change.new_plan for change in found):
        yield "A new plan is made by `numaplace plan FLEET --policy solver`."


def _some(hosts: Sequence[str]) -> str:
    more = len(hosts) - MOST_HOSTS_SHOWN
    return ", ".join(hosts[:MOST_HOSTS_SHOWN]) + (f" and {more} more hosts" if more > 0 else "")


def _causes(explanation: Explanation) -> Iterator[str]:
    by_host: dict[str, list[str]] = {}
    for cause in explanation.causes:
        by_host.setdefault(cause.host, []).append(cause.text)
    shown = [line for texts in list(by_host.values())[:MOST_HOSTS_SHOWN] for line in texts]
    more = len(by_host) - MOST_HOSTS_SHOWN
    rest = [f"(and {more} more hosts: --output json has them all)"] if more > 0 else []
    head = (
        "It does not fit even alone. None of these can be spared: without any one of them, "
        "and with nothing else in the way, it would fit there."
    )
    yield "\n".join([head, *(f"  {line}" for line in [*shown, *rest])])


def _account(account: Account) -> Iterator[str]:
    from policies.why.change import where

    rows = [
        (tier.name, tier.value, _signed(tier.value - without.value), *_otherwise(account.otherwise, i, tier))
        for i, (tier, without) in enumerate(zip(account.tiers, account.without, strict=True))
    ]
    yield columns(("OBJECTIVE", "PLAN", "THE GUEST ADDS", "BEST OTHER PLACE"), rows)
    if account.alternative is None:
        yield "There is no other place for it beside the others, as they are."
    else:
        yield f"Its best other place beside the others, as they are: {where(account.alternative)}."


def _otherwise(tiers: Sequence[Tier], index: int, tier: Tier) -> tuple[str]:
    return (_signed(tiers[index].value - tier.value) if tiers else "",)


def _signed(number: int) -> str:
    return f"{number:+d}" if number else "0"


def _document(explanation: Explanation) -> dict[str, Any]:
    from policies.plan_json import decision_to_json

    account, holders, changes = explanation.account, explanation.holders, explanation.changes
    return {
        "schema": 1,
        "decision": decision_to_json(explanation.decision),
        "causes": [
            {
                "host": cause.host,
                "reason": cause.reason.value,
                "text": cause.text,
                "lacks": [{"node": k.node_id, "page_kib": k.page_kib, "amount": k.amount} for k in cause.lacks],
            }
            for cause in explanation.causes
        ],
        "holders": None
        if holders is None
        else {
            "guests": list(holders.guests),
            "weight": holders.weight,
            "placement": decision_to_json(holders.placement),
        },
        "whole_groups": list(explanation.whole_groups),
        "changes": [
            {"text": change.text, "new_plan": change.new_plan, "placement": decision_to_json(change.placement)}
            for change in changes.found
        ],
        "search": _search_to_json(changes),
        "account": None if account is None else _account_to_json(account),
    }


def _search_to_json(changes: Changes) -> dict[str, Any]:
    return {
        "could_move": changes.could_move,
        "moved": changes.moved,
        "planned_again": None if changes.planned_again is None else list(changes.planned_again),
        "limited_by": changes.limited_by,
    }


def _account_to_json(account: Account) -> dict[str, Any]:
    from policies.plan_json import decision_to_json

    return {
        "tiers": [
            {
                "tier": tier.tier,
                "name": tier.name,
                "plan": tier.value,
                "without": account.without[i].value,
                "otherwise": account.otherwise[i].value if account.otherwise else None,
            }
            for i, tier in enumerate(account.tiers)
        ],
        "alternative": None if account.alternative is None else decision_to_json(account.alternative),
        "tried": account.tried,
    }
