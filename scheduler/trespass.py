"""Guests of nobody's books on pCPUs that we promised to one of ours alone."""

from __future__ import annotations

from collections.abc import Sequence

from policies.host_rules import HostRules, OutstandingClaim
from policies.tenants import tenants
from probe.snapshot import HostSnapshot, OccupantState


def trespasses(snapshot: HostSnapshot, claims: Sequence[OutstandingClaim]) -> dict[str, str]:
    """Claim id to who else may run on its dedicated pCPUs; those of whom nobody does are left out.

    Strangers that run or are paused count, dom0 too; one that is shut off runs nowhere.
    """
    strangers = [
        tenant.occupant
        for tenant in tenants(snapshot, HostRules(), claims)
        if tenant.placement is None and tenant.occupant and tenant.occupant.state is not OccupantState.SHUTOFF
    ]
    online, found = snapshot.topology.online_cpus, {}
    for claim in claims:
        own = claim.placement.own_cpus
        where = {each.guest: each.possible_cpus(online) & own for each in strangers}
        told = [f"{guest} may run on its pCPUs {cpus}" for guest, cpus in sorted(where.items()) if cpus]
        if told:
            found[claim.claim_id] = "; ".join(told)
    return found
