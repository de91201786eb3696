"""Apply as a transaction: everybody into the books, then one guest after the other created.

First all guests are accepted and reserved (`scheduler.booking`), so that nobody else takes what the
plan needs; then each is created (`scheduler.creation`). One guest's failure never touches another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduler.booking import Seen, book
from scheduler.creation import Job, Outcome, Report, create
from scheduler.ledger import Claim, Ledger
from scheduler.steps import Bench, Faults, Order, Site, faults_from_environment

__all__ = ["Order", "Outcome", "Report", "Site", "apply_orders"]


def apply_orders(
    orders: Sequence[Order],
    sites: Mapping[str, Site],
    ledger: Ledger,
    report: Report = lambda *_: None,
    *,
    faults: Faults | None = None,
    plan_hash: str = "",
) -> tuple[Outcome, ...]:
    """Create guests on the hosts of `sites`; outcomes in the order of `orders`."""
    told = faults or faults_from_environment()
    looks: dict[str, Seen] = {}
    reserved: list[tuple[Job, Claim] | Outcome] = []
    for order in orders:
        bench = Bench(site=sites[order.placement.host], ledger=ledger, faults=told)
        job = Job(order=order, bench=bench, report=report, plan_hash=plan_hash)
        reserved.append(book(job, looks))
    return tuple(each if isinstance(each, Outcome) else create(*each) for each in reserved)
