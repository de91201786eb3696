"""A scenario: read from its file, played by a seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.events import Play
from benchmarks.scenarios.arrivals import Arrivals, Lifetimes
from benchmarks.scenarios.file import GuestsEntry, MixKeys, ScenarioFile, StreamEntry
from benchmarks.scenarios.hosts import fleet_of
from benchmarks.scenarios.mix import Mix, flavour_of, mix_of
from benchmarks.scenarios.shapes import SHAPES
from benchmarks.scenarios.stream import Stream, guests_for
from policies.fleet import Fleet
from policies.request import GuestRequest, RequestInvalidError
from probe.errors import BadInputError
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
    """

    name: str
    text: str
    folder: Path
    file: ScenarioFile

    @property
    def title(self) -> str:
        return self.file.title

    @property
    def digest(self) -> str:
        """A hash of everything that decides what is played, the seed aside.

        Raises:
            DataMissingError: it is of a public data set that is not here.
        """
        told = [GENERATOR, self.file.model_dump(), self._shapes()]
        total = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
        return total.hexdigest()

    def play(self, seed: int) -> Play:
        """The hosts and the events of a seed.

        Raises:
            DataMissingError: it is of a public data set that is not here.
            BadInputError: a file that it names cannot be used.
        """
        fleet = fleet_of(self.file.hosts, self.folder, seed)
        play = _play(self.file.guests, fleet, seed)
        return replace(play, flavours=tuple(map(flavour_of, self.file.room)) or play.flavours)

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
    scenario = Scenario(name=name, text=text, folder=origin.parent, file=document.validate(ScenarioFile))
    _check_flavours(document, scenario.file)
    return scenario


def _check_flavours(document: Document, file: ScenarioFile) -> None:
    """Name the line of a flavour that contradicts itself, or repeats a name."""
    guests = file.guests
    lists: list[tuple[list[Any], list[Any]]] = [(["room"], list(file.room))]
    lists += [
        (["guests", key, "flavours"], list(mix.flavours))
        for key, mix in (("stream", guests.stream), ("batch", guests.batch))
        if mix is not None
    ]
    for path, entries in lists:
        for number, entry in enumerate(entries):
            try:
                flavour_of(entry)
            except RequestInvalidError as error:
                raise document.error([*path, number, "name"], error.message) from error
            if entry.name in [other.name for other in entries[:number]]:
                raise document.error([*path, number, "name"], f"two flavours are called {entry.name!r}.")


def _play(guests: GuestsEntry, fleet: Fleet, seed: int) -> Play:
    if guests.stream is not None:
        return _streamed(guests.stream, fleet, seed)
    raise BadInputError("these guests cannot be played yet.")


def _streamed(entry: StreamEntry, fleet: Fleet, seed: int) -> Play:
    mix = _mix(entry)
    stream = Stream(
        mix=mix,
        arrivals=Arrivals(burstiness=entry.arrivals.burstiness, hours=tuple(entry.arrivals.hours)),
        lifetimes=Lifetimes(
            mean_s=entry.lifetime.mean or 0, distribution=entry.lifetime.distribution, sigma=entry.lifetime.sigma
        ),
        events=entry.events,
        present=guests_for(entry.load / 100, mix, fleet),
        is_loaded=entry.start == "loaded",
        is_told=entry.told,
    )
    return Play(fleet=fleet, events=lambda: stream.play(seed), count=entry.events, flavours=_most_common(mix))


def _mix(entry: MixKeys) -> Mix:
    return mix_of(entry.flavours, entry.groups)


def _most_common(mix: Mix, most: int = 12) -> tuple[GuestRequest, ...]:
    """The flavours that come most often, in their order."""
    kept = sorted(range(len(mix.flavours)), key=lambda n: (-mix.weights[n], n))[:most]
    return tuple(mix.flavours[n] for n in sorted(kept))
