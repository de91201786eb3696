"""Guests through libvirt: defined, started paused, looked at, resumed.

`libvirt` is imported when a connection is opened, so that everything else runs without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from policies.plan import Placement
from probe.cpuset import CpuSet
from probe.errors import SourceMalformedError
from probe.mark import MARK_PREFIX, NUMAPLACE_XMLNS, read_mark
from probe.safe_xml import parse_xml
from probe.snapshot import Hypervisor, OccupantState
from probe.sources.libvirt_affinity import vcpu_affinities
from probe.sources.libvirt_uri import check_libvirt_uri
from probe.sources.shell import HostShell
from probe.sources.ssh import SshTarget
from scheduler.definitions.identity import Identity
from scheduler.executors.libvirt_errors import NO_DOMAIN, NO_SUPPORT, OPERATION_INVALID, classified, unreachable
from scheduler.executors.libvirt_rebinding import move_memory, rebind_threads
from scheduler.executors.port import (
    CannotMarkError,
    DefinitionKind,
    DomainDefinition,
    DomainFound,
    ExecutorError,
    HostUnreachableError,
    NameTakenError,
    Observation,
    observed_each,
)
from scheduler.memory_guarantee import allocates_at_start
from scheduler.observers.kvm_proc import KvmObserver
from scheduler.observers.xen_host import observe_host

Result = TypeVar("Result")

_STATES = {
    1: OccupantState.RUNNING,
    2: OccupantState.RUNNING,
    3: OccupantState.PAUSED,
    5: OccupantState.SHUTOFF,
}
"""virDomainState: running, blocked, paused, shutoff; the rest is `other`."""


class LibvirtExecutor:
    """One open libvirt connection (see `scheduler.executors.port.Executor`)."""

    def __init__(
        self, uri: str, *, allow_tcp: bool = False, ssh: SshTarget | None = None, xl: HostShell | None = None
    ) -> None:
        """Open `uri` for writing; over `ssh` the kernel of a remote KVM host is asked for pages, through `xl` Xen.

        Raises:
            HostUnreachableError: no connection.
            BadInputError: a bad URI.
        """
        check_libvirt_uri(uri, allow_tcp=allow_tcp)
        try:
            import libvirt
        except ImportError as error:
            raise HostUnreachableError(
                f"{uri}: libvirt-python is not installed.", advice="Maybe: pip install 'numaplace[libvirt]'"
            ) from error
        self._libvirt = libvirt
        libvirt.registerErrorHandler(lambda *_: None, None)
        try:
            self._connection: Any = libvirt.open(uri)
        except libvirt.libvirtError as error:
            raise unreachable(uri, error.get_error_message() or str(error)) from error
        self._uri = uri
        self.hypervisor = Hypervisor.XEN if self._connection.getType() == "Xen" else Hypervisor.KVM
        self.kind = DefinitionKind.XEN_XML if self.hypervisor is Hypervisor.XEN else DefinitionKind.KVM_XML
        sees_proc = self.hypervisor is Hypervisor.KVM and (ssh is not None or self._is_local())
        self._observer = KvmObserver(ssh) if sees_proc else None
        self._xl = xl if self.hypervisor is Hypervisor.XEN else None

    def find(self, uuid: str) -> DomainFound | None:
        domain = self._lookup(uuid)
        return None if domain is None else self._found_if_there(domain)

    def list_domains(self) -> tuple[DomainFound, ...]:
        domains = self._call("list domains", self._connection.listAllDomains)
        return tuple(found for domain in domains if (found := self._listed(domain)) is not None)

    def define(self, definition: DomainDefinition) -> None:
        """Define it. A domain of this name with another uuid is never replaced."""
        other = self._looked_up(lambda: self._connection.lookupByName(definition.guest), definition.guest)
        if other is not None and other.UUIDString() != definition.uuid:
            raise NameTakenError(f"{definition.guest}: a domain of this name exists, uuid {other.UUIDString()}.")
        self._call(f"define {definition.guest}", lambda: self._connection.defineXML(definition.text))

    def start_paused(self, uuid: str) -> None:
        flags = self._libvirt.VIR_DOMAIN_START_PAUSED
        self._act(uuid, "start", lambda d: d.createWithFlags(flags), already=lambda d: d.isActive())

    def resume(self, uuid: str) -> None:
        running = self._libvirt.VIR_DOMAIN_RUNNING
        self._act(uuid, "resume", lambda d: d.resume(), already=lambda d: d.state()[0] == running)

    def destroy(self, uuid: str) -> None:
        self._undo(uuid, "destroy", lambda d: d.destroy(), already=lambda d: not d.isActive())

    def undefine(self, uuid: str) -> None:
        flags = self._libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | self._libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        if self.hypervisor is Hypervisor.XEN:
            flags = 0
        self._undo(uuid, "undefine", lambda d: d.undefineFlags(flags), already=lambda d: not d.isPersistent())

    def set_mark(self, identity: Identity) -> None:
        domain = self._present(identity.uuid, "mark")
        self._write_mark(domain, f'<guest ledger="{identity.ledger}" claim="{identity.claim}"/>')

    def clear_mark(self, uuid: str) -> None:
        domain = self._lookup(uuid)
        if domain is not None:
            self._write_mark(domain, None)

    def _write_mark(self, domain: Any, element: str | None) -> None:
        """Write our element of the metadata, live and for the next start, as far as there is each."""
        libvirt = self._libvirt
        try:
            flags = libvirt.VIR_DOMAIN_AFFECT_LIVE * domain.isActive()
            flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG * domain.isPersistent()
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, MARK_PREFIX, NUMAPLACE_XMLNS, flags)
        except libvirt.libvirtError as error:
            if error.get_error_code() == NO_SUPPORT:
                raise CannotMarkError(f"{self._uri}: this driver of libvirt keeps no metadata.") from error
            if error.get_error_code() == NO_DOMAIN and element is None:
                return
            raise self._classified(error, f"mark {domain.name()}") from error

    def rebind(self, uuid: str, placement: Placement) -> None:
        domain = self._present(uuid, "bind")
        self._call("bind", lambda: rebind_threads(self._libvirt, domain, placement, self.hypervisor))

    def move_memory(self, uuid: str, placement: Placement) -> None:
        domain = self._present(uuid, "move")
        self._call("move memory", lambda: move_memory(self._libvirt, domain, placement, self.hypervisor))

    def observe(self, uuid: str) -> Observation:
        """As the kernel shows it where that can be asked, else what libvirt alone can tell."""
        seen = self.observe_all([uuid])[uuid]
        if isinstance(seen, ExecutorError):
            raise seen
        return seen

    def observe_all(self, uuids: Collection[str], *, memory: bool = True) -> Mapping[str, Observation | ExecutorError]:
        """One look at the kernel's files for all, which costs the same with their pages; or at Xen's counts."""
        seen: Mapping[str, Observation | ExecutorError] = {}
        if self._observer is not None:
            seen = self._observer.look(uuids)
        elif self._xl is not None and uuids:
            of_xen = observe_host(self._xl, memory=memory)
            seen = {uuid: of_xen[uuid] for uuid in uuids if uuid in of_xen}
        return {**seen, **observed_each([uuid for uuid in uuids if uuid not in seen], self._by_libvirt)}

    def _by_libvirt(self, uuid: str) -> Observation:
        domain = self._present(uuid, "observe")
        return self._call("observe", lambda: self._observed(domain))

    def _observed(self, domain: Any) -> Observation:
        """Masks of the vCPUs (`virDomainGetVcpus`) and of the emulator; nothing about pages."""
        try:
            emulator = _cpus(domain.emulatorPinInfo())
        except self._libvirt.libvirtError:  # Xen's driver knows no emulator threads
            emulator = None
        return Observation(
            vcpu_cpus=dict(enumerate(vcpu_affinities(self._libvirt, domain))),
            emulator_cpus=emulator,
            memory_nodes_allowed=None,
            resident_kib=None,
            how="libvirt alone: virDomainGetVcpus, no pages",
        )

    def close(self) -> None:
        self._connection.close()

    def _is_local(self) -> bool:
        return "///" in self._uri and "+" not in self._uri.partition(":")[0]

    def _lookup(self, uuid: str) -> Any | None:
        return self._looked_up(lambda: self._connection.lookupByUUIDString(uuid), uuid)

    def _present(self, uuid: str, doing: str) -> Any:
        domain = self._lookup(uuid)
        if domain is None:
            raise classified(NO_DOMAIN, f"no domain {uuid}", doing=doing)
        return domain

    def _looked_up(self, look: Callable[[], Result], what: str) -> Result | None:
        """None where there is no such domain, or none any more."""
        try:
            return look()
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == NO_DOMAIN:
                return None
            raise self._classified(error, f"look up {what}") from error

    def _listed(self, domain: Any) -> DomainFound | None:
        """None also where its XML cannot be read: no mark of ours can be seen in it."""
        try:
            return self._found_if_there(domain)
        except SourceMalformedError:
            return None

    def _found_if_there(self, domain: Any) -> DomainFound | None:
        return self._looked_up(lambda: self._found(domain), domain.name())

    def _found(self, domain: Any) -> DomainFound:
        root = parse_xml(domain.XMLDesc(), origin=f"domain {domain.name()}")
        ledger, claim = read_mark(root)
        return DomainFound(
            guest=domain.name(),
            uuid=domain.UUIDString(),
            state=_STATES.get(domain.state()[0], OccupantState.OTHER),
            ledger=ledger,
            claim=claim,
            preallocated=allocates_at_start(root),
        )

    def _act(self, uuid: str, what: str, act: Callable[[Any], Any], *, already: Callable[[Any], Any]) -> None:
        """Do it, unless it was done before: a repeated step of a resumed transaction succeeds."""
        domain = self._present(uuid, what)
        if not self._call(what, lambda: already(domain)):
            self._call(f"{what} {domain.name()}", lambda: act(domain))

    def _undo(self, uuid: str, what: str, act: Callable[[Any], Any], *, already: Callable[[Any], Any]) -> None:
        """Undo it; what is not there, or was undone, is a success."""
        domain = self._lookup(uuid)
        if domain is None or self._call(what, lambda: already(domain)):
            return
        try:
            act(domain)
        except self._libvirt.libvirtError as error:
            if error.get_error_code() in (NO_DOMAIN, OPERATION_INVALID):
                return
            raise self._classified(error, f"{what} {uuid}") from error

    def _call(self, doing: str, call: Callable[[], Result]) -> Result:
        try:
            return call()
        except self._libvirt.libvirtError as error:
            raise self._classified(error, doing) from error

    def _classified(self, error: Any, doing: str) -> Exception:
        return classified(
            error.get_error_code(), error.get_error_message() or str(error), doing=f"{self._uri}: {doing}"
        )


def _cpus(mask: tuple[bool, ...]) -> CpuSet:
    return CpuSet(frozenset(cpu for cpu, allowed in enumerate(mask) if allowed))
