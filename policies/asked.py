"""What a guest may ask for of its pCPUs beyond their number."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.request import GuestRequest


class SmtPolicy(StrEnum):
    """What else may run on the cores of a dedicated guest; the words of Nova's `hw:cpu_thread_policy`.

    A core is whole where all its thread siblings may be dedicated and are free.
    """

    PREFER = "prefer"
    """Whole cores where they fit, and siblings of others' else."""
    ISOLATE = "isolate"
    """Each vCPU has a whole core; its other siblings are booked and stay idle."""
    REQUIRE = "require"
    """vCPUs fill whole cores, thread by thread, on each node. On a host without SMT there are none. What is left
    over of a node's last core is booked and stays idle."""


class EmulatorPolicy(StrEnum):
    """Where the hypervisor's own threads for a guest run (KVM only, but for AUTO)."""

    AUTO = "auto"
    """Of a dedicated guest on housekeeping pCPUs of its nodes, where there are any; else on its own."""
    GUEST = "guest"
    """On the pCPUs of its vCPUs."""
    OWN = "own"
    """On one more dedicated pCPU, of the node of its first cell."""
    HOUSEKEEPING = "housekeeping"
    """On housekeeping pCPUs of its nodes; one of these has some."""


def cpu_complaints(request: GuestRequest) -> Iterator[str]:
    """What contradicts itself in what is asked of pCPUs."""
    if request.cpus == "dedicated":
        return
    if request.smt is not SmtPolicy.PREFER:
        yield f"smt {request.smt} is for guests with dedicated pCPUs"
    if request.emulator is EmulatorPolicy.OWN:
        yield "an own pCPU for the emulator is for guests with dedicated pCPUs"
