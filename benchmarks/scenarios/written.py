"""Guests that a scenario names one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.events import Event
from benchmarks.scenarios.file import WrittenEntry, WrittenEvent
from policies.request import GuestName, GuestRequest, Membership, RequestInvalidError
from scheduler.files.document import Document
from scheduler.files.fleet_file import MAX_GUESTS, GroupEntry, GuestEntry, TemplateDefaults, request_of

_NOT_HERE = frozenset({"template", "vars", "replace_pins"})
_PATH = ("guests", "written", "events")


def written_events(entry: WrittenEntry, document: Document) -> tuple[Event, ...]:
    """The events as written.

    Raises:
        FileInvalidError: a guest contradicts itself, a name stands twice, somebody goes who is not there, a group is
            unknown, or time runs backwards.
    """
    known: set[str] = set()
    here: set[str] = set()
    events: list[Event] = []
    for position, written in enumerate(entry.events):
        _check_order(written, here, float(events[-1].at_s) if events else 0.0, document, position)
        guests = tuple(_guests(entry, written, document, position))
        for guest in guests:
            if guest.name in known:
                raise document.error([*_PATH, position], f"two guests are called {guest.name!r}.")
            known.add(guest.name)
        if len(known) > MAX_GUESTS:
            raise document.error([*_PATH, position], f"more than {MAX_GUESTS:,} guests in all.")
        here = (here - set(written.leave)) | {guest.name for guest in guests}
        left = tuple(GuestName(name) for name in written.leave)
        events.append(Event(at_s=float(written.at), departures=left, arrivals=guests))
    return tuple(events)


def _check_order(written: WrittenEvent, here: set[str], last_s: float, document: Document, position: int) -> None:
    path: list[int | str] = [*_PATH, position]
    if written.at < last_s:
        raise document.error([*path, "at"], "is before the event above it.")
    if strange := [name for name in written.leave if name not in here]:
        raise document.error([*path, "leave"], f"nobody called {strange[0][:80]!r} is there.")
    if len(set(written.leave)) < len(written.leave):
        raise document.error([*path, "leave"], "somebody goes twice.")


def _guests(entry: WrittenEntry, written: WrittenEvent, document: Document, position: int) -> Iterator[GuestRequest]:
    for number, given in enumerate(written.guests):
        guest = given.with_defaults(entry.defaults)
        path: list[int | str] = [*_PATH, position, "guests", number]
        if strange := sorted((given.model_fields_set | entry.defaults.model_fields_set) & _NOT_HERE):
            raise document.error(path, f"a guest of a scenario has no {strange[0]}.")
        member_of = _memberships(guest, entry.groups, document, path)
        for index in range(1, (guest.count or 1) + 1):
            try:
                yield request_of(guest, TemplateDefaults(), index, member_of)
            except RequestInvalidError as error:
                raise document.error([*path, "name"], error.message) from error


def _memberships(
    guest: GuestEntry, groups: Mapping[str, GroupEntry], document: Document, path: list[int | str]
) -> tuple[Membership, ...]:
    parts = guest.groups if isinstance(guest.groups, dict) else dict.fromkeys(guest.groups, "")
    if unknown := [name for name in parts if name not in groups]:
        raise document.error([*path, "groups"], f"no group is called {unknown[0][:80]!r}.")
    return tuple(Membership(group=groups[name].group(name), part=part) for name, part in parts.items())
