"""A scenario: read from its file, played by a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.events import Event, Play
from benchmarks.scenarios.digest import bytes_read
from benchmarks.scenarios.file import ScenarioFile
from benchmarks.scenarios.hosts import fleet_of
from benchmarks.scenarios.mix import flavour_of
from benchmarks.scenarios.play import batched, of_events, replayed, streamed, traced
from benchmarks.scenarios.shapes import SHAPES
from benchmarks.scenarios.written import written_events
from policies.request import RequestInvalidError
from scheduler.files.document import Document, parse_document, read_own_file

GENERATOR = 1
"""Counts up whenever the same file and seed would give other events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Hosts, and guests that come and go.

    Attributes:
        name: of a built-in scenario, else the file's path.
        text: of its file.
        folder: where the files that it names are looked for.
        written: the events, where the file names every guest.
    """

    name: str
    text: str
    folder: Path
    file: ScenarioFile
    written: tuple[Event, ...] = ()

    @property
    def title(self) -> str:
        return self.file.title

    @property
    def digest(self) -> str:
        """A hash of everything that decides what is played, the seed aside.

        Raises:
            DataMissingError: it is of a public data set that is not here.
            BadInputError: a file that it names cannot be read.
        """
        told = self.file.model_dump(exclude={"title", "about"})
        total = hashlib.sha256(json.dumps([GENERATOR, told, self._shapes()], sort_keys=True, default=str).encode())
        for content in bytes_read(self.file, self.folder):
            total.update(hashlib.sha256(content).digest())
        return total.hexdigest()

    def play(self, seed: int) -> Play:
        """The hosts and the events of a seed.

        Raises:
            DataMissingError: it is of a public data set that is not here.
            BadInputError: a file that it names cannot be used.
        """
        play = self._play(seed)
        return replace(play, flavours=tuple(map(flavour_of, self.file.room)) or play.flavours)

    def _play(self, seed: int) -> Play:
        fleet, guests = fleet_of(self.file.hosts, self.folder, seed), self.file.guests
        if guests.stream is not None:
            return streamed(guests.stream, fleet, seed)
        if guests.batch is not None:
            return batched(guests.batch, fleet, seed)
        if guests.trace is not None:
            return traced(guests.trace, fleet, seed)
        if guests.ledger is not None:
            return replayed(self.folder / guests.ledger.path, fleet)
        return of_events(self.written, fleet)

    def _shapes(self) -> list[str]:
        used = {name for entry in self.file.hosts for name in (entry.shape, entry.stand_in)}
        return [repr(shape) for name, shape in SHAPES.items() if name in used]


def read_scenario(path: Path, *, name: str) -> Scenario:
    """The scenario of a file.

    Raises:
        FileInvalidError: it does not follow its schema, or a guest of it contradicts itself; names file, line and key.
    """
    return parse_scenario(read_own_file(path), origin=path, name=name)


def parse_scenario(text: str, *, origin: Path, name: str) -> Scenario:
    """The scenario of a file's text. Raises as `read_scenario`."""
    document = parse_document(text, origin=str(origin), is_json=origin.suffix == ".json")
    file = document.validate(ScenarioFile)
    _check_flavours(document, file)
    written = written_events(file.guests.written, document) if file.guests.written is not None else ()
    return Scenario(name=name, text=text, folder=origin.parent, file=file, written=written)


def _check_flavours(document: Document, file: ScenarioFile) -> None:
    """Name the line of a flavour that contradicts itself, or repeats a name."""
    for path, entries in _flavours(file):
        seen: set[str] = set()
        for number, entry in enumerate(entries):
            try:
                flavour_of(entry)
            except RequestInvalidError as error:
                raise document.error([*path, number, "name"], error.message) from error
            if entry.name in seen:
                raise document.error([*path, number, "name"], f"two flavours are called {entry.name!r}.")
            seen.add(entry.name)


def _flavours(file: ScenarioFile) -> Iterator[tuple[list[int | str], list[Any]]]:
    yield ["room"], list(file.room)
    for key, mix in (("stream", file.guests.stream), ("batch", file.guests.batch)):
        if mix is not None:
            yield ["guests", key, "flavours"], list(mix.flavours)
