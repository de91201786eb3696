"""A change that makes a guest fit, and how places read."""

from __future__ import annotations

from dataclasses import dataclass

from policies.plan import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that was tried, and where the guest then goes.

    Attributes:
        new_plan: whether others live elsewhere too, perhaps: the batch was solved again with it, and nobody who has a
            place loses it. Else it helps beside the plan as it stands.
    """

    text: str
    placement: Placement
    new_plan: bool = False


def where(placement: Placement) -> str:
    """ "node 1 of h2", "nodes 0-1 of h2"."""
    nodes = placement.cpu_nodes
    if nodes is None:
        return placement.host
    return f"node{'s' * (len(nodes) > 1)} {nodes} of {placement.host}"
