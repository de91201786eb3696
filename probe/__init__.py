"""What is there: a host's NUMA nodes, CPUs, memory and guests, from any source.

`read_source` reads a host; everything else here is what it answers with, or made of it.
"""

from typing import TYPE_CHECKING

from probe.face import lazy_face

if TYPE_CHECKING:
    from probe.combine import combine as combine
    from probe.cpuset import CpuId as CpuId, CpuSet as CpuSet, NodeId as NodeId, NodeSet as NodeSet
    from probe.errors import (
        BadInputError as BadInputError,
        NumaplaceError as NumaplaceError,
        SourceMalformedError as SourceMalformedError,
        SourceUnreadableError as SourceUnreadableError,
    )
    from probe.graph import topology_from_graph as topology_from_graph, topology_to_graph as topology_to_graph
    from probe.limits import ReadLimits as ReadLimits
    from probe.snapshot import (
        Disagreement as Disagreement,
        HostSnapshot as HostSnapshot,
        HugepagePool as HugepagePool,
        Hypervisor as Hypervisor,
        NodeMemory as NodeMemory,
        Occupant as Occupant,
        OccupantMemory as OccupantMemory,
        OccupantState as OccupantState,
    )
    from probe.snapshot_json import (
        snapshot_from_json as snapshot_from_json,
        snapshot_to_json as snapshot_to_json,
    )
    from probe.sources.registry import read_source as read_source
    from probe.topology import HostTopology as HostTopology, NumaNode as NumaNode
    from probe.units import format_kib as format_kib, parse_size_kib as parse_size_kib

__all__, __getattr__ = lazy_face(
    __name__,
    {
        "probe.combine": ("combine",),
        "probe.cpuset": (
            "CpuId",
            "CpuSet",
            "NodeId",
            "NodeSet",
        ),
        "probe.errors": (
            "BadInputError",
            "NumaplaceError",
            "SourceMalformedError",
            "SourceUnreadableError",
        ),
        "probe.graph": (
            "topology_from_graph",
            "topology_to_graph",
        ),
        "probe.limits": ("ReadLimits",),
        "probe.snapshot": (
            "Disagreement",
            "HostSnapshot",
            "HugepagePool",
            "Hypervisor",
            "NodeMemory",
            "Occupant",
            "OccupantMemory",
            "OccupantState",
        ),
        "probe.snapshot_json": (
            "snapshot_from_json",
            "snapshot_to_json",
        ),
        "probe.sources.registry": ("read_source",),
        "probe.topology": (
            "HostTopology",
            "NumaNode",
        ),
        "probe.units": (
            "format_kib",
            "parse_size_kib",
        ),
    },
)
