"""What should be: policies that choose a home for every guest of a fleet. Pure functions.

`load_policy(name)(requests, fleet, effort)` answers with one decision per request;
`violations` checks any answer independently.
"""

from typing import TYPE_CHECKING

from probe.face import lazy_face

if TYPE_CHECKING:
    from policies.capacity import HostCapacity as HostCapacity, NodeCapacity as NodeCapacity
    from policies.check import Violation as Violation, violations as violations
    from policies.fleet import Fleet as Fleet
    from policies.host_rules import HostRules as HostRules, OutstandingClaim as OutstandingClaim
    from policies.plan import (
        Answer as Answer,
        Decision as Decision,
        MemoryMode as MemoryMode,
        PlacedCell as PlacedCell,
        PlacedMemory as PlacedMemory,
        Placement as Placement,
        Plan as Plan,
        Reason as Reason,
        Rejection as Rejection,
        SolveStatus as SolveStatus,
        Tier as Tier,
    )
    from policies.plan_json import plan_from_json as plan_from_json, plan_to_json as plan_to_json
    from policies.policy import Effort as Effort, Policy as Policy
    from policies.promise import MemoryNote as MemoryNote, host_capacity as host_capacity, memory_notes as memory_notes
    from policies.registry import describe_policies as describe_policies, load_policy as load_policy
    from policies.request import (
        CpuPolicy as CpuPolicy,
        GuestName as GuestName,
        GuestRequest as GuestRequest,
        HostName as HostName,
    )

__all__, __getattr__ = lazy_face(
    __name__,
    {
        "policies.capacity": (
            "HostCapacity",
            "NodeCapacity",
        ),
        "policies.check": (
            "Violation",
            "violations",
        ),
        "policies.fleet": ("Fleet",),
        "policies.host_rules": (
            "HostRules",
            "OutstandingClaim",
        ),
        "policies.plan": (
            "Answer",
            "Decision",
            "MemoryMode",
            "PlacedCell",
            "PlacedMemory",
            "Placement",
            "Plan",
            "Reason",
            "Rejection",
            "SolveStatus",
            "Tier",
        ),
        "policies.plan_json": (
            "plan_from_json",
            "plan_to_json",
        ),
        "policies.policy": (
            "Effort",
            "Policy",
        ),
        "policies.promise": (
            "MemoryNote",
            "host_capacity",
            "memory_notes",
        ),
        "policies.registry": (
            "describe_policies",
            "load_policy",
        ),
        "policies.request": (
            "CpuPolicy",
            "GuestName",
            "GuestRequest",
            "HostName",
        ),
    },
)
