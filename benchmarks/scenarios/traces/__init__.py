"""Public traces: guests that came and went, and the hosts that they came to. Read where they are, never shipped."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.scenarios.data import data_file, data_folder
from probe.errors import BadInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One public data set.

    Attributes:
        module: reads it, by functions `hosts` and `guests`, which not each has.
        files: what it reads, below the data folder.
        hosts, guests: how many it has; 0 where it tells of none.
        is_timed: whether it tells when guests came and went; else they are a batch.
    """

    module: str
    title: str
    origin: str
    licence: str
    files: tuple[str, ...]
    guests: int
    hosts: int = 0
    is_timed: bool = False


_ROADEF = dict(
    zip(
        (f"a{group}_{number}" for group in (1, 2) for number in range(1, 6)),
        (4, 100, 100, 50, 12, 100, 100, 100, 50, 50),
        strict=True,
    )
)
"""The challenge's small instances, and how many machines each has."""
TRACES: Mapping[str, Trace] = MappingProxyType(
    {
        "huawei-topology-aware": Trace(
            module="huawei",
            title="Huawei Cloud: 1,710 half-used hosts of two nodes in racks, two batches with groups",
            origin="https://github.com/mdl1104/Dataset-for-topology-aware-VM-placement",
            licence="CC0-1.0",
            files=tuple(
                f"traces/huawei-topology-aware/{name}"
                for name in ("csv/PM_res.csv", "csv/VM_data_C1.csv", "csv/VM_data_C2.csv", "topology_provider.xls")
            ),
            hosts=1710,
            guests=9996,
        ),
        "alibaba-gpu-v2023": Trace(
            module="alibaba",
            title="Alibaba: 1,523 hosts of a GPU cluster, pods that come and go; GPUs are left aside",
            origin="https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2023",
            licence="for research and study",
            files=(
                "traces/alibaba-gpu-v2023/openb_node_list_all_node.csv",
                "traces/alibaba-gpu-v2023/openb_pod_list_default.first_half.csv",
            ),
            hosts=1523,
            guests=4076,
            is_timed=True,
        ),
        "bitbrains-small": Trace(
            module="bitbrains",
            title="Bitbrains: 50 guests of a managed hosting provider, when they came and went",
            origin="https://github.com/atlarge-research/opendc (GWA-T-12)",
            licence="MIT",
            files=("traces/bitbrains-small/meta.csv",),
            guests=50,
            is_timed=True,
        ),
        **{
            f"roadef2012/{name}": Trace(
                module="roadef",
                title="ROADEF/EURO challenge 2012 (Google): processes of services on machines, as one batch",
                origin="https://github.com/wjaskowski/roadef-challange-2012-public",
                licence="none stated (public challenge data)",
                files=tuple(f"traces/roadef2012/A/{what}_{name}.txt" for what in ("model", "assignment")),
                hosts=machines,
                guests=100 if name == "a1_1" else 1000,
            )
            for name, machines in _ROADEF.items()
        },
    }
)
"""By name."""
_AS_PUBLISHED: Mapping[str, str] = MappingProxyType(
    {"traces/bitbrains-small/meta.csv": "traces/bitbrains-small/meta.parquet"}
)


def trace_called(name: str) -> Trace:
    """The trace of this name. Raises `BadInputError` where there is none."""
    if name not in TRACES:
        raise BadInputError(f"no trace is called {name[:80]!r}; there are: {', '.join(TRACES)}.")
    return TRACES[name]


def files_of(trace: Trace) -> tuple[Path, ...]:
    """What the trace is read from. Raises `DataMissingError` where one of them is not there."""
    return tuple(data_file(_there(name)) for name in trace.files)


def trace_is_there(trace: Trace) -> bool:
    """Whether all its files are."""
    return all((data_folder() / _there(name)).is_file() for name in trace.files)


def _there(name: str) -> str:
    """The file, or where it is not there the same rows as they are published."""
    other = _AS_PUBLISHED.get(name, name)
    return other if (data_folder() / other).is_file() and not (data_folder() / name).is_file() else name


def reader(trace: Trace, function: str) -> Callable[..., Any]:
    """The function of the module that reads the trace."""
    made: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{trace.module}"), function)
    return made
