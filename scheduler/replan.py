"""Plan one guest again, on hosts as they are now, while everybody else keeps what the books promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from policies.plan import Placement, Rejection
from policies.policy import Effort
from policies.registry import is_in_a_file
from probe.errors import BadInputError
from scheduler.apply import Home
from scheduler.files.hosts_file import HostConfig
from scheduler.ledger import Ledger
from scheduler.ledger.cordons import Cordon
from scheduler.plan_file import PlanFile
from scheduler.planning import HostView, Standing, away_hosts, levels_named, plan_fleet, view_hosts
from scheduler.reading import read_hosts_of
from scheduler.steps import Order, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanner:
    """Places one guest of a plan by the plan's own policy and seed (a `scheduler.apply.PlanAgain`).

    Attributes:
        configs: the hosts that may be planned on; each is in `sites`.
        everywhere: these and all others, whose guests may be members of a group.
        order: how a placement on a site becomes an order.
    """

    file: PlanFile
    configs: Sequence[HostConfig]
    everywhere: Sequence[HostConfig]
    sites: Mapping[str, Site]
    ledger: Ledger
    order: Callable[[Placement, Site], Order]

    def __call__(self, failed: Placement, failed_on: Set[tuple[str, int]] = frozenset()) -> Home | Rejection:
        """A new home for the guest of `failed`, which is not in the books any more.

        It is not planned on the nodes of `failed_on` (host, node): what their hypervisor shows as free, it
        did not give (Xen keeps some of node 0, for one), and it would show the same again.

        Raises:
            BadInputError: the plan's policy is in a file (a plan makes nobody run a program), or
                the guest cannot be defined at its new home.
            SourceMalformedError: a host says what it should not.
            PlanUnsoundError: the policy broke a hard rule.
        """
        plan = self.file.plan
        if is_in_a_file(plan.policy):
            raise BadInputError(
                f"policy {plan.policy!r} is in a file, and apply runs no file because a plan names it.",
                advice="Maybe plan again yourself: numaplace plan --policy FILE.py:NAME, then apply.",
            )
        guests = [guest for guest in self.file.guests if guest.request.name == failed.guest]
        reading = read_hosts_of(self.configs)
        views = [_without(view, failed_on) for view in view_hosts(self.configs, reading.snapshots, self.ledger)]
        away = away_hosts(self.everywhere, reading.snapshots, self.ledger)
        standing = Standing(away=away, levels=levels_named(self.everywhere))
        again = plan_fleet(
            guests,
            self.file.templates,
            views,
            plan.policy,
            Effort(seed=plan.seed, objective=self.file.objective),
            standing=standing,
        )
        (decision,) = again.plan.decisions
        if isinstance(decision, Rejection):
            left_out = [f" {host} could not be reached." for host in reading.unreached]
            left_out += [f" Node {node} of {host} has failed it already." for host, node in sorted(failed_on)]
            return replace(decision, detail=decision.detail + "".join(left_out))
        site = replace(self.sites[decision.host], topology=reading.snapshots[decision.host].topology)
        return Home(order=self.order(decision, site), site=site)


def _without(view: HostView, nodes: Set[tuple[str, int]]) -> HostView:
    """The host with these nodes closed."""
    since = view.snapshot.taken_at
    closed = [Cordon(host=host, node=node, since=since) for host, node in nodes if host == view.config.name]
    return replace(view, cordons=(*view.cordons, *closed))
