"""What is said around an answer that supposes another fleet, and the table of each host lost in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scheduler.cli.output import columns, emit

if TYPE_CHECKING:
    from scheduler.what_if import Loss
    from scheduler.what_if.change import Change, LoseEach
    from scheduler.what_if.supposed import NotPlanned, Supposed

SHOWN = 5
"""So many new guests without a place are named; `--output json` has all, with the reasons."""


def with_what_if(document: dict[str, Any], supposed: Supposed) -> dict[str, Any]:
    """The document, and beside it what is supposed; unchanged where nothing is."""
    if not supposed.changes:
        return document
    return {**document, "what_if": what_if_to_json(supposed)}


def around(table: str, supposed: Supposed) -> str:
    """The table with what is supposed on top and who had to move below; unchanged where nothing is supposed."""
    if not supposed.changes:
        return table
    return "\n\n".join(filter(None, [headline(supposed.changes), table, "\n".join(_who_moves(supposed))]))


def headline(changes: Sequence[Change | LoseEach]) -> str:
    """What is supposed, and that it is not so."""
    return f"What if {', and '.join(change.sentence for change in changes)}? Nothing is changed anywhere."


def emit_losses(losses: Sequence[Loss], asked: Sequence[Change | LoseEach], output: str) -> int:
    """Print what becomes of each loss; the exit status."""
    document = {
        "schema": 1,
        "hypothetical": [str(change) for change in asked],
        "losses": [_loss_to_json(loss) for loss in losses],
    }
    emit(document, output, lambda: _losses_table(losses, asked))
    lacking = any(loss.made.plan.rejections or loss.supposed.not_planned for loss in losses)
    return 3 if lacking else 0


def _loss_to_json(loss: Loss) -> dict[str, Any]:
    from policies.plan_json import decision_to_json
    from scheduler.plan_file import plan_file_to_json

    return {
        "host": loss.host,
        "guests": sorted(loss.guests),
        "no_place": [decision_to_json(rejection) for rejection in loss.refused],
        "plan": with_what_if(plan_file_to_json(loss.made), loss.supposed),
    }


def _losses_table(losses: Sequence[Loss], asked: Sequence[Change | LoseEach]) -> str:
    from policies.plan import Placement

    new = any(loss.new for loss in losses)
    rows = []
    for loss in losses:
        found = sum(isinstance(decision, Placement) for decision in loss.new)
        others = [f"{found} of {len(loss.new)}"] if new else []
        rows.append((loss.host, len(loss.guests), len(loss.guests) - len(loss.refused), len(loss.refused), *others))
    header = ("LOST", "GUESTS", "ELSEWHERE", "NO PLACE", *(["NEW"] if new else []))
    lines = [line for loss in losses for line in _lost_lines(loss)]
    return "\n\n".join(filter(None, [headline(asked), columns(header, rows), "\n".join(lines), _verdict(losses)]))


def _lost_lines(loss: Loss) -> list[str]:
    from policies.plan import Rejection
    from scheduler.cli.plan import refusal_line

    lines = [f"Without {loss.host}, {refusal_line(rejection)}" for rejection in loss.refused]
    lines += [left_out_line(left) for left in loss.supposed.not_planned if left.host == loss.host]
    new = [decision.guest for decision in loss.new if isinstance(decision, Rejection)]
    more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
    return (
        [*lines, f"Without {loss.host}, new guests without a place: {', '.join(new[:SHOWN])}{more}"] if new else lines
    )


def _verdict(losses: Sequence[Loss]) -> str:
    """On those who are there: for new ones there may be no place anyway."""
    bad = [loss.host for loss in losses if loss.refused or loss.supposed.not_planned]
    if not any(loss.guests or loss.supposed.not_planned for loss in losses):
        return "No guest is there yet."
    if not bad:
        return "Whichever host is lost, its guests find another place."
    return f"Not all guests find another place where one of these is lost: {', '.join(bad)}"


def what_if_to_json(supposed: Supposed) -> dict[str, Any]:
    """Who had to move, and what is to be known."""
    return {
        "asked_again": [asdict(again) for again in supposed.asked_again],
        "not_planned": [asdict(left) for left in supposed.not_planned],
        "notes": list(supposed.notes),
    }


def _who_moves(supposed: Supposed) -> list[str]:
    by_file = [f"{a.guest} ({a.host})" for a in supposed.asked_again if not a.as_it_is]
    by_books = [f"{a.guest} ({a.host})" for a in supposed.asked_again if a.as_it_is]
    lines = [f"Asked for again, as the fleet file says: {', '.join(by_file)}"] if by_file else []
    lines += [f"Asked for again, as they are in the books: {', '.join(by_books)}"] if by_books else []
    return [*lines, *map(left_out_line, supposed.not_planned), *supposed.notes]


def left_out_line(left: NotPlanned) -> str:
    return f"Not planned: {left.guest} on {left.host}, because {left.why}"
