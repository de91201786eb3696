"""The port to a hypervisor: what the apply transaction asks of it, and how it may fail.

Two kinds of failure matter (research/reliability.md 0.4): a *definite* one, after which nothing
was done, and an *indefinite* one, after which only a look at the hypervisor can tell. What is not
surely definite is indefinite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.errors import NumaplaceError
from probe.snapshot import OccupantState
from scheduler.definitions.identity import Identity


class DefinitionKind(StrEnum):
    """The three definitions that a plan can become."""

    KVM_XML = "kvm-xml"
    XEN_XML = "xen-xml"
    XL_CFG = "xl-cfg"


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDefinition:
    """The text that a hypervisor creates a guest from; it carries uuid, ledger id and claim id."""

    guest: str
    uuid: str
    kind: DefinitionKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainFound:
    """A domain as the hypervisor shows it.

    Attributes:
        ledger, claim: of our mark; None for a stranger.
        preallocated: all its memory is there when it is started, before it touches any.
    """

    guest: str
    uuid: str
    state: OccupantState
    ledger: str | None = None
    claim: str | None = None
    preallocated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMemory:
    """Where the memory of one guest cell really is.

    Attributes:
        nodes_allowed: nodes that the kernel lets it allocate from.
        resident_kib: node id to KiB that are really there.
        page_kib: sizes of the host's pages that hold it; empty while nothing is resident.
    """

    nodes_allowed: frozenset[int]
    resident_kib: Mapping[int, int]
    page_kib: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "resident_kib", MappingProxyType(dict(self.resident_kib)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Where a guest's threads and pages really are (design.md, the three figures).

    Attributes:
        vcpu_cpus: vCPU index to the pCPUs that it may really use.
        emulator_cpus: the same for the emulator threads; None where it cannot be seen.
        memory_nodes_allowed: nodes that the kernel lets it allocate from; None where it cannot be
            seen (or on Xen, where pages are placed already).
        resident_kib: node id to KiB that are really there; None where it cannot be seen.
        how: what was looked at: "cgroup v2 and /proc", "libvirt alone: …".
        cells: each guest cell's memory, in their order; None where cells cannot be told apart.
            `memory_nodes_allowed` and `resident_kib` are their sums.
        soft_cpus: vCPU index to the pCPUs where the hypervisor runs it while they are not busy, where
            these are fewer than it may use: Xen's soft affinity, which libxl sets where it chooses a node.
    """

    vcpu_cpus: Mapping[int, CpuSet]
    emulator_cpus: CpuSet | None
    memory_nodes_allowed: frozenset[int] | None
    resident_kib: Mapping[int, int] | None
    how: str
    cells: tuple[CellMemory, ...] | None = None
    soft_cpus: Mapping[int, CpuSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vcpu_cpus", MappingProxyType(dict(self.vcpu_cpus)))
        object.__setattr__(self, "soft_cpus", MappingProxyType(dict(self.soft_cpus)))
        if self.resident_kib is not None:
            object.__setattr__(self, "resident_kib", MappingProxyType(dict(self.resident_kib)))


class ExecutorError(NumaplaceError):
    """A call to a hypervisor did not succeed."""


class HostUnreachableError(ExecutorError):
    """No connection could be opened; nothing was asked."""

    exit_status = 6


class DefiniteFailureError(ExecutorError):
    """The hypervisor refused; nothing was done by this call."""

    exit_status = 7


class HostChangedError(DefiniteFailureError):
    """It refused because the host is not as planned: memory, CPU or node is gone. Plan again."""

    exit_status = 5


class NameTakenError(DefiniteFailureError):
    """A domain of this name or uuid exists and is not ours; it is never touched."""


class CannotMarkError(DefiniteFailureError):
    """This hypervisor keeps no mark of ours in a domain that is there already."""


class CannotMoveError(DefiniteFailureError):
    """How the guest was made, or its hypervisor, forbids that its memory moves while it runs."""


class OutcomeUnknownError(ExecutorError):
    """The reply was lost, or its meaning is not known: only a look can tell what was done."""

    exit_status = 8


def observed_each(
    uuids: Collection[str], observe: Callable[[str], Observation]
) -> dict[str, Observation | ExecutorError]:
    """Observe one after the other; one guest's failure touches no other."""
    seen: dict[str, Observation | ExecutorError] = {}
    for uuid in uuids:
        try:
            seen[uuid] = observe(uuid)
        except ExecutorError as error:
            seen[uuid] = error
    return seen


class Executor(Protocol):
    """One open connection to one hypervisor. Every call may raise the errors above.

    `destroy`, `undefine` and `clear_mark` of a domain that is not there succeed: undoing is
    idempotent. None of the calls touches a domain whose uuid differs. The two calls for the mark
    change a domain's metadata and nothing else, while it runs too and for its next start; they raise
    `CannotMarkError` where the hypervisor has no such thing. `rebind` binds the vCPUs and emulator
    threads of a domain that runs as placed, also for its next start; `move_memory` lets the memory
    of the running domain go to the placed nodes, as far as the kernel can, some time after the call;
    it raises `CannotMoveError` where none can move.
    """

    kind: DefinitionKind

    def find(self, uuid: str) -> DomainFound | None: ...

    def list_domains(self) -> tuple[DomainFound, ...]: ...

    def define(self, definition: DomainDefinition) -> None: ...

    def start_paused(self, uuid: str) -> None: ...

    def resume(self, uuid: str) -> None: ...

    def destroy(self, uuid: str) -> None: ...

    def undefine(self, uuid: str) -> None: ...

    def set_mark(self, identity: Identity) -> None: ...

    def clear_mark(self, uuid: str) -> None: ...

    def rebind(self, uuid: str, placement: Placement) -> None: ...

    def move_memory(self, uuid: str, placement: Placement) -> None: ...

    def observe(self, uuid: str) -> Observation: ...

    def observe_all(self, uuids: Collection[str], *, memory: bool = True) -> Mapping[str, Observation | ExecutorError]:
        """The same for several guests, by uuid, with as few looks at the host as can be.

        Without `memory` pages are left out where counting them is dear (on Xen).
        """
        ...

    def close(self) -> None: ...
