"""Guests on the embedded hypervisor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from policies.plan import Placement
from probe.cpuset import NodeSet
from probe.snapshot import Hypervisor, OccupantState
from scheduler.definitions.identity import Identity
from scheduler.executors.port import (
    CannotMoveError,
    CellMemory,
    DefiniteFailureError,
    DefinitionKind,
    DomainDefinition,
    DomainFound,
    ExecutorError,
    HostChangedError,
    NameTakenError,
    Observation,
    OutcomeUnknownError,
    observed_each,
)
from scheduler.sim.errors import ReplyLostError, SimError
from scheduler.sim.host_file import SimDomain
from scheduler.sim.hypervisor import SimHypervisor
from scheduler.sim.wanted import Wanted, WantedCell

Result = TypeVar("Result")

_NO_DOMAIN, _WRONG_STATE = 42, 55


class SimExecutor:
    """One connection to a host file (see `scheduler.executors.port.Executor`)."""

    def __init__(self, path: Path) -> None:
        """Open the host file. Raises `SourceUnreadableError`, `SourceMalformedError`."""
        self._sim = SimHypervisor(path)
        self.kind = DefinitionKind.XEN_XML if self._sim.flavour is Hypervisor.XEN else DefinitionKind.KVM_XML

    def find(self, uuid: str) -> DomainFound | None:
        domain = _tried(lambda: self._sim.find(uuid))
        return None if domain is None else _found(domain)

    def list_domains(self) -> tuple[DomainFound, ...]:
        return tuple(_found(domain) for domain in _tried(self._sim.domains))

    def define(self, definition: DomainDefinition) -> None:
        _tried(lambda: self._sim.define(definition.text))

    def start_paused(self, uuid: str) -> None:
        domain = self._sim.find(uuid)
        if domain is None or domain.state is OccupantState.SHUTOFF:
            _tried(lambda: self._sim.start(uuid))

    def resume(self, uuid: str) -> None:
        domain = self._sim.find(uuid)
        if domain is None or domain.state is not OccupantState.RUNNING:
            _tried(lambda: self._sim.resume(uuid))

    def destroy(self, uuid: str) -> None:
        _undone(lambda: self._sim.destroy(uuid))

    def undefine(self, uuid: str) -> None:
        _undone(lambda: self._sim.undefine(uuid))

    def set_mark(self, identity: Identity) -> None:
        _tried(lambda: self._sim.mark(identity.uuid, (identity.ledger, identity.claim)))

    def clear_mark(self, uuid: str) -> None:
        _undone(lambda: self._sim.mark(uuid, None))

    def rebind(self, uuid: str, placement: Placement) -> None:
        pins = {vcpu: cpus for cell in placement.cells for vcpu, cpus in cell.pins.items()}
        _tried(lambda: self._sim.repin(uuid, pins, placement.emulator_cpus))

    def move_memory(self, uuid: str, placement: Placement) -> None:
        try:
            _tried(lambda: self._sim.set_nodes(uuid, placement.memory_nodes))
        except DefiniteFailureError as error:
            raise CannotMoveError(error.message) from error

    def observe(self, uuid: str) -> Observation:
        domain = _tried(lambda: self._sim.find(uuid))
        if domain is None:
            raise DefiniteFailureError(f"no domain {uuid}")
        wanted, online = domain.wanted, self._sim.base.topology.online_cpus
        bound = [cell.nodes for cell in wanted.cells if cell.mode in ("strict", "restrictive", "interleave")]
        every = self._sim.base.topology.node_ids
        allowed = frozenset().union(*(nodes.ids for nodes in bound)) if len(bound) == len(wanted.cells) else every.ids
        kvm = self._sim.flavour is Hypervisor.KVM
        return Observation(
            vcpu_cpus={v: wanted.affinity.get(v, online) for v in range(wanted.vcpus)},
            emulator_cpus=(wanted.emulator_cpus or online) if kvm else None,
            memory_nodes_allowed=allowed if kvm else None,
            resident_kib=domain.resident_kib,
            how="embedded hypervisor",
            cells=_cells(wanted, domain, every) if kvm else None,
        )

    def observe_all(self, uuids: Collection[str], *, memory: bool = True) -> Mapping[str, Observation | ExecutorError]:
        del memory
        return observed_each(uuids, self.observe)

    def close(self) -> None:
        self._sim.close()


def _cells(wanted: Wanted, domain: SimDomain, every: NodeSet) -> tuple[CellMemory, ...]:
    pairs = zip(wanted.cells, domain.pages, strict=False)  # no pages where it does not run
    return tuple(_cell(cell, pages, every, wanted.page_kib) for cell, pages in pairs)


def _cell(wanted: WantedCell, pages: Mapping[int, int], every: NodeSet, page_kib: int) -> CellMemory:
    bound = wanted.mode in ("strict", "restrictive", "interleave")
    return CellMemory(
        nodes_allowed=(wanted.nodes if bound else every).ids,
        resident_kib=pages,
        page_kib=frozenset({page_kib} if pages else ()),
    )


def _found(domain: SimDomain) -> DomainFound:
    wanted = domain.wanted
    return DomainFound(
        guest=wanted.name,
        uuid=wanted.uuid,
        state=domain.state,
        ledger=wanted.ledger,
        claim=wanted.claim,
        preallocated=wanted.preallocated,
    )


def _tried(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except ReplyLostError as error:
        raise OutcomeUnknownError(str(error)) from error
    except SimError as error:
        raise _classified(error) from error


def _undone(call: Callable[[], None]) -> None:
    """What is not there, or does not run, is undone already."""
    try:
        call()
    except SimError as error:
        if error.code not in (_NO_DOMAIN, _WRONG_STATE):
            raise _classified(error) from error
    except ReplyLostError as error:
        raise OutcomeUnknownError(str(error)) from error


def _classified(error: SimError) -> ExecutorError:
    kinds: dict[int, type[ExecutorError]] = {9: NameTakenError, 67: HostChangedError, 38: HostChangedError}
    if "memory" in error.message:
        return HostChangedError(error.message)
    return kinds.get(error.code, DefiniteFailureError)(error.message)
