"""What is measured of a policy in a scenario: each figure once, with its unit and its formula.

In a row some names have brackets, one figure for each reason or flavour: `refused[memory]`, `room[m1.large]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Better(StrEnum):
    """Which of two values is the better one."""

    MORE = "more"
    LESS = "less"
    NEITHER = "neither"
    """It tells something, and nobody wins by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure.

    Attributes:
        title: what a table's head says.
        formula: how it is counted, for people.
        better: of two values.
        unit: "" for counts and ratios.
        is_time: whether it differs between two runs of the same scenario, policy and seed.
    """

    title: str
    formula: str
    better: Better = Better.LESS
    unit: str = ""
    is_time: bool = False


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "placed": Metric(
            title="placed",
            formula="Guests whose placement passes our checker, whether or not they are still there.",
            better=Better.MORE,
        ),
        "refused": Metric(
            title="refused", formula="Guests that were told no. With [reason]: those of them with this reason."
        ),
        "broken": Metric(
            title="broken",
            formula=(
                "Guests that the policy placed although a hard rule forbids it (our checker says which). They do "
                "not come to live there, and count neither as placed nor as refused."
            ),
        ),
        "one_node_ratio": Metric(
            title="in one node",
            formula="Guests placed whose pCPUs and memory are all of one node ÷ guests placed.",
            better=Better.MORE,
        ),
        "mean_nodes": Metric(
            title="nodes", formula="Host nodes that the vCPUs of a guest may use; mean over guests placed."
        ),
        "mean_distance": Metric(
            title="distance",
            formula=(
                "SLIT distance between the vCPUs and the memory of each guest cell: mean over its vCPUs, over the"
                " pCPUs that each may use and over the bytes of the cell, then over guests placed. What is bound "
                "to nothing is spread over the pCPUs of its host, and over the memory that its nodes had left."
            ),
        ),
        "p99_distance": Metric(
            title="p99 distance",
            formula="99th percentile, over guests placed, of the distance that mean_distance averages, to a hundredth.",
        ),
        "local_ratio": Metric(
            title="local bytes",
            formula=(
                "Bytes on the nodes of the pCPUs that the vCPUs of their cell may use, weighted by vCPU ÷ all "
                "bytes; of all guests placed (as `numaplace status` counts the locality of a running guest)."
            ),
            better=Better.MORE,
        ),
        "least_local_ratio": Metric(
            title="least local",
            formula="Of running guests, measured: the smallest local_ratio of one guest.",
            better=Better.MORE,
        ),
        "wholly_local": Metric(
            title="wholly local",
            formula="Of running guests, measured: how many have all of their bytes local (99.95 %).",
            better=Better.MORE,
        ),
        "resident_ratio": Metric(
            title="resident",
            formula="Of running guests, measured: bytes that are there ÷ bytes of the guest; mean over guests.",
            better=Better.NEITHER,
        ),
        "l3_split": Metric(
            title="L3 split",
            formula=(
                "Guests placed on pCPUs of their own that lie in more L3 domains of a node than the fewest that "
                "hold so many."
            ),
        ),
        "smt_shared": Metric(
            title="SMT shared",
            formula=(
                "Guests placed on pCPUs of their own of which a thread sibling was another's, or among the shared "
                "ones, when all guests of their event had come."
            ),
        ),
        "empty_hosts": Metric(
            title="empty hosts",
            formula="Hosts without a guest of the scenario; mean over the samples, each for its time.",
            better=Better.MORE,
        ),
        "stranded_cpus": Metric(
            title="stranded pCPUs",
            formula=(
                "vCPUs that still fit (of the flavour that finds room for the most) on nodes that hold no flavour any "
                "more for want of memory; mean over the samples, each for its time."
            ),
        ),
        "stranded_gib": Metric(
            title="stranded memory",
            formula=(
                "Free 4 KiB memory of nodes that hold no flavour any more for want of pCPUs; mean over the samples, "
                "each for its time."
            ),
            unit="GiB",
        ),
        "room": Metric(
            title="room",
            formula="With [flavour]: how many more guests of the flavour would fit at the end, each flavour alone.",
            better=Better.MORE,
        ),
        "migrations": Metric(title="migrations", formula="Steps of rebalancing that moved a guest or its memory."),
        "moved_gib": Metric(title="moved", formula="Memory that these steps moved.", unit="GiB"),
        "gap": Metric(
            title="gap",
            formula=(
                "Of batches: (bound − placed) ÷ max(1, placed), both by the policy's own answer; the largest of "
                "the scenario."
            ),
        ),
        "regret": Metric(
            title="regret",
            formula=(
                "(bound − placed) ÷ max(1, bound). The bound is of the guests that a plan could place which knows all "
                "comings and goings beforehand: the linear program that lets parts of guests come, where at 40 "
                "moments those who are there have no more pCPUs and memory than all hosts together; of a scenario "
                "that is one batch, what the solver proves of it, where that is less (guests bound to nothing may "
                "be more: then it is negative)."
            ),
        ),
        "p50_ms": Metric(
            title="p50",
            formula="Time from the question to the answer, once for all arrivals of an event: the median.",
            unit="ms",
            is_time=True,
        ),
        "p99_ms": Metric(
            title="p99", formula="Time from the question to the answer: the 99th percentile.", unit="ms", is_time=True
        ),
        "sample_every": Metric(
            title="sampled every",
            formula="Events from one sample of the whole fleet to the next; guests are all counted.",
            better=Better.NEITHER,
            unit="events",
        ),
        "wall_s": Metric(
            title="wall", formula="Wall clock time of the whole row.", better=Better.NEITHER, unit="s", is_time=True
        ),
        "peak_mib": Metric(
            title="memory",
            formula="Largest resident memory of the process that measured the row.",
            better=Better.NEITHER,
            unit="MiB",
            is_time=True,
        ),
    }
)
"""By name, in the order in which tables show them."""


def metric_of(name: str) -> Metric:
    """The metric of a figure in a row, `refused[memory]` among them. Raises `KeyError` where there is none."""
    return METRICS[name.partition("[")[0]]
