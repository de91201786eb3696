"""What was created, so that nothing else is ended and nothing is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from probe.errors import NumaplaceError
from scheduler.executors.port import DomainDefinition, OutcomeUnknownError
from scheduler.ledger import ConflictError
from scheduler.steps import Site

_SAYS = b"\nending the guests that were created first ...\n"


class LeftBehindError(OutcomeUnknownError):
    """Guests of ours could not be ended."""


@dataclass(slots=True)
class Created:
    """The guests that are there because of us, by uuid; each uuid is noted before anything is asked of its host."""

    sites: Mapping[str, Site]
    _hosts: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def note(self, uuid: str, name: str, *hosts: str) -> None:
        """A guest that may come to be on these hosts."""
        self._hosts[uuid] = (name, hosts)

    def create(self, host: str, definition: DomainDefinition, *, paused: bool = False) -> None:
        """Define and start a guest. Raises `ExecutorError`; what it left behind is noted."""
        self.note(definition.uuid, definition.guest, host)
        executor = self.sites[host].executor
        executor.define(definition)
        executor.start_paused(definition.uuid)
        if not paused:
            executor.resume(definition.uuid)

    def end(self, uuids: Iterable[str] | None = None) -> None:
        """End these guests, or all, the newest first. What is gone already is ended.

        Raises:
            LeftBehindError: some could not be ended; it names them all.
        """
        left: dict[str, NumaplaceError] = {}
        for uuid in reversed(list(self._hosts if uuids is None else uuids)):
            name, hosts = self._hosts[uuid]
            errors = {f"{name} on {host}": error for host in hosts if (error := self._ended_on(host, uuid))}
            left |= errors
            if not errors:
                del self._hosts[uuid]
        if left:
            raise LeftBehindError(
                f"could not be ended: {', '.join(left)}: {next(iter(left.values())).message}",
                advice="Maybe end them by hand: virsh -c URI destroy NAME; virsh -c URI undefine NAME.",
            )

    def _ended_on(self, host: str, uuid: str) -> NumaplaceError | None:
        try:
            self.sites[host].executor.destroy(uuid)
            self.sites[host].executor.undefine(uuid)
        except NumaplaceError as error:
            return error
        return None

    @contextmanager
    def ended(self) -> Iterator[None]:
        """At the end, however it comes, those that were created within are ended. Ctrl-C is heeded after that."""
        before = set(self._hosts)
        try:
            yield
        finally:
            with no_interrupt():
                self.end([uuid for uuid in self._hosts if uuid not in before])


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM only tell that they were heard."""

    def heard(number: int, frame: FrameType | None) -> None:
        del number, frame
        os.write(2, _SAYS)

    before = {each: signal.signal(each, heard) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Within, SIGTERM raises `KeyboardInterrupt`, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def nobody_has_our_names(sites: Mapping[str, Site], prefix: str) -> None:
    """Raises `ConflictError` where guests with this prefix exist already: whose they are, nobody knows."""
    for host, site in sites.items():
        names = sorted(domain.guest for domain in site.executor.list_domains() if domain.guest.startswith(prefix))
        if names:
            raise ConflictError(
                f"{host}: guests called {', '.join(names[:5])}{' …' * (len(names) > 5)} exist already.",
                host=host,
                others=tuple(names),
                advice=f"Maybe an earlier run was killed: end them by hand (virsh destroy, undefine), or give another"
                f" --prefix than {prefix!r}.",
            )
