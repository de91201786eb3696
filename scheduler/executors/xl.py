"""Guests through `xl`, on this machine (`xl:`) or another (`xl+ssh://[USER@]HOST[:PORT]`).

xl keeps no definitions, so they are files of ours on the host, one for each uuid. A domain is what
such a file and `xl list` say of its uuid together; one without a file is a stranger. Domain ids are
given out again, so each act checks, in the shell that acts, that the id still has the uuid.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from policies.plan import Placement
from probe.errors import SourceMalformedError
from probe.mark import XL_DEFINITIONS, read_xl_mark
from probe.snapshot import OccupantState
from probe.sources.shell import HostShell, joined, split
from probe.sources.xen_domains import XlDomain, by_uuid, parse_xl_list
from scheduler.definitions.identity import Identity
from scheduler.definitions.xl_grammar import last_values, parse_xl_cfg
from scheduler.executors.port import (
    CannotMarkError,
    CannotMoveError,
    DefiniteFailureError,
    DefinitionKind,
    DomainDefinition,
    DomainFound,
    ExecutorError,
    HostUnreachableError,
    NameTakenError,
    Observation,
    OutcomeUnknownError,
)
from scheduler.executors.xl_calls import GONE, NOTHING_DONE, DomainGoneError, act, ask
from scheduler.memory_guarantee import xl_allocates_at_start
from scheduler.observers.xen_host import observe_host

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
_FILE_LINE = re.compile(rf"(?P<uuid>{_UUID.pattern})\.cfg:(?P<line>.*)", re.ASCII | re.DOTALL)

_LOOK = ("xl list -v", '{ cd "$1" 2>/dev/null && grep -as -e "" -- /dev/null *.cfg; true; }')
"""grep writes the file's name before each line; /dev/null makes it do so for one file too."""

_STORE = (
    f'umask 077 && mkdir -p "$1" && new=$(mktemp "$1/.new.XXXXXX") || exit {NOTHING_DONE}; '
    'cat > "$new" && [ "$(wc -c < "$new")" -eq "$3" ] && sync "$new" && mv -f "$new" "$1/$2.cfg" '
    f'|| {{ rm -f "$new"; exit {NOTHING_DONE}; }}'
)
"""The size is checked: a connection that breaks ends standard input early."""

_REMOVE = f'rm -f "$1/$2.cfg" || exit {NOTHING_DONE}'

_UNMARK = f'[ ! -e "$1/$2.cfg" ] || sed -i "/^# numaplace ledger=/d" "$1/$2.cfg" || exit {NOTHING_DONE}'

_CREATE = 'said=$(xl create -p "$1/$2.cfg" 2>&1); status=$?; printf "%s\\n" "$said" >&2; exit $status'
"""xl writes to this shell, so that a connection that breaks does not end it half-way."""

_ON_ID = f'case "$(xl list -v "$1")" in *" $2 "*) exec xl "$3" "$1";; *) echo "it has gone" >&2; exit {GONE};; esac'

_PIN = (
    f'case "$(xl list -v "$1")" in *" $2 "*) ;; *) echo "it has gone" >&2; exit {GONE};; esac; '
    'id=$1; shift 2; while [ $# -gt 0 ]; do xl vcpu-pin "$id" "$1" "$2" || exit 1; shift 2; done'
)


@dataclass(frozen=True, slots=True)
class _View:
    """What is on a host, by uuid: the domains of Xen, and the texts of our files."""

    domains: Mapping[str, XlDomain]
    files: Mapping[str, str]

    def found(self, uuid: str) -> DomainFound | None:
        domain, text = self.domains.get(uuid), self.files.get(uuid)
        if domain is None and text is None:
            return None
        ledger, claim = read_xl_mark(text or "")
        return DomainFound(
            guest=_name(text, uuid) if domain is None else domain.name,
            uuid=uuid,
            state=OccupantState.SHUTOFF if domain is None else domain.state,
            ledger=ledger,
            claim=claim,
            preallocated=_preallocated(text, uuid),
        )

    def all_found(self) -> Iterator[DomainFound]:
        for uuid in sorted({*self.domains, *self.files}):
            found = self.found(uuid)
            if found is not None:
                yield found


class XlExecutor:
    """One Xen host through its dom0's shell (see `scheduler.executors.port.Executor`)."""

    kind = DefinitionKind.XL_CFG

    def __init__(self, shell: HostShell, *, definitions: str = XL_DEFINITIONS) -> None:
        """Check that xl answers there. Raises `HostUnreachableError`."""
        self._shell, self._folder = shell, definitions
        ask(shell, "xl list", "xl list > /dev/null")

    def find(self, uuid: str) -> DomainFound | None:
        return self._look().found(uuid)

    def list_domains(self) -> tuple[DomainFound, ...]:
        return tuple(self._look().all_found())

    def define(self, definition: DomainDefinition) -> None:
        """Write its file. A domain of this name with another uuid is never replaced."""
        uuid, content = _checked(definition.uuid), definition.text.encode()
        for other in self._look().all_found():
            if other.guest == definition.guest and other.uuid != uuid:
                raise NameTakenError(f"{definition.guest}: a domain of this name exists, uuid {other.uuid}.")
        act(self._shell, f"define {definition.guest}", _STORE, self._folder, uuid, str(len(content)), stdin=content)

    def start_paused(self, uuid: str) -> None:
        view = self._look()
        if uuid in view.domains and view.domains[uuid].state is not OccupantState.OTHER:
            return
        if uuid not in view.files:
            raise DefiniteFailureError(f"{self._shell}: start: no domain {uuid} is defined.")
        try:
            act(self._shell, f"start {_name(view.files[uuid], uuid)}", _CREATE, self._folder, uuid)
        except NameTakenError:
            if uuid not in self._look().domains:  # else somebody else started this very domain meanwhile
                raise

    def resume(self, uuid: str) -> None:
        domain = self._look().domains.get(uuid)
        if domain is None:
            raise DefiniteFailureError(f"{self._shell}: resume: no domain {uuid} is there.")
        if domain.state is OccupantState.RUNNING:
            return
        self._act_on(domain, uuid, "unpause")  # xl ends with status 0 whatever came of it (4.17)
        try:
            after = self._look().domains.get(uuid)
        except HostUnreachableError as error:
            raise OutcomeUnknownError(error.message, advice=error.advice) from error
        if after is not None and after.state is OccupantState.PAUSED:
            raise DefiniteFailureError(f"{self._shell}: resume {after.name}: it is paused still.")

    def destroy(self, uuid: str) -> None:
        domain = self._look().domains.get(uuid)
        if domain is None:
            return
        try:
            self._act_on(domain, uuid, "destroy")
        except DefiniteFailureError:
            if uuid in self._look().domains:
                raise

    def undefine(self, uuid: str) -> None:
        act(self._shell, f"undefine {uuid}", _REMOVE, self._folder, _checked(uuid))

    def rebind(self, uuid: str, placement: Placement) -> None:
        """Its file keeps the pins that it was made with, which are the same."""
        domain = self._look().domains.get(uuid)
        if domain is None:
            raise DomainGoneError(f"{self._shell}: bind: no domain {uuid} is there.")
        pins = [word for cell in placement.cells for vcpu, cpus in cell.pins.items() for word in (str(vcpu), str(cpus))]
        act(self._shell, f"bind {domain.name}", _PIN, str(domain.domain_id), uuid, *pins)

    def move_memory(self, uuid: str, placement: Placement) -> None:
        """Raises `CannotMoveError`."""
        del uuid, placement
        raise CannotMoveError("Xen places a guest's memory when it is created and moves none of it afterwards")

    def observe(self, uuid: str) -> Observation:
        """Xen's own affinities and page counts."""
        seen = self.observe_all([uuid])[uuid]
        if isinstance(seen, ExecutorError):
            raise seen
        return seen

    def observe_all(self, uuids: Collection[str], *, memory: bool = True) -> Mapping[str, Observation | ExecutorError]:
        """One dump of Xen's page counts for all, and only with `memory`: every CPU waits for it."""
        found = observe_host(self._shell, memory=memory) if uuids else {}
        gone = f"{self._shell}: observe: no domain"
        return {uuid: found.get(uuid) or DomainGoneError(f"{gone} {uuid} is there.") for uuid in uuids}

    def set_mark(self, identity: Identity) -> None:
        """A guest that others made has no file of ours. Raises `CannotMarkError`."""
        raise CannotMarkError(f"{self._shell}: xl keeps no metadata of a domain, thus none of {identity.uuid}.")

    def clear_mark(self, uuid: str) -> None:
        """Take the mark out of its file. What is not there, or bears none, is a success."""
        act(self._shell, f"unmark {uuid}", _UNMARK, self._folder, _checked(uuid))

    def close(self) -> None:
        """There is nothing to close: each call is a connection of its own."""

    def _act_on(self, domain: XlDomain, uuid: str, verb: str) -> None:
        """By its id, which is looked at again in the shell that acts."""
        act(self._shell, f"{verb} {domain.name}", _ON_ID, str(domain.domain_id), uuid, verb)

    def _look(self) -> _View:
        """One look at Xen and at our files, in this order: a domain that is started meanwhile has its file."""
        output = ask(self._shell, "look", joined(_LOOK), self._folder)
        try:
            listed, files = split(output, len(_LOOK), origin=str(self._shell))
            return _View(by_uuid(parse_xl_list(listed, origin=f"{self._shell}: xl list -v")), parse_files(files))
        except SourceMalformedError as error:
            raise OutcomeUnknownError(error.message) from error


def parse_files(text: str) -> Mapping[str, str]:
    """Uuid to the text of its file, from lines `UUID.cfg:LINE`; files of other names are none of ours."""
    lines: dict[str, list[str]] = {}
    for each in text.split("\n"):
        if match := _FILE_LINE.fullmatch(each):
            lines.setdefault(match["uuid"], []).append(match["line"] + "\n")
    return {uuid: "".join(content) for uuid, content in lines.items()}


def _preallocated(text: str | None, uuid: str) -> bool:
    """A domain without a file of ours, or with a damaged one, is not known to be."""
    try:
        return text is not None and xl_allocates_at_start(text, origin=uuid)
    except SourceMalformedError:
        return False


def _name(text: str | None, uuid: str) -> str:
    """The name in a definition; a file that somebody damaged is called by its uuid."""
    try:
        told = last_values(parse_xl_cfg(text or "", origin=uuid), origin=uuid).get("name")
    except SourceMalformedError:
        return uuid
    return told if isinstance(told, str) else uuid


def _checked(uuid: str) -> str:
    """It becomes the name of a file. Raises `DefiniteFailureError` when it is no uuid."""
    if _UUID.fullmatch(uuid) is None:
        raise DefiniteFailureError(f"expected a uuid in lower case, got {uuid[:80]!r}.")
    return uuid
