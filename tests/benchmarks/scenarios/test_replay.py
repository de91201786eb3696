"""Replay of our own books: who came and who went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.events import Event
from benchmarks.scenarios.replay import comings_of, read_replay
from benchmarks.scenarios.traces.coming import events_of
from policies.plan import Placement
from policies.policy import Effort
from policies.registry import load_policy
from policies.request import CpuPolicy, GuestName, GuestRequest
from probe.errors import BadInputError
from scheduler.ledger import Claim, Event as LedgerEvent, LedgerUnreachableError, State, open_ledger
from tests.benchmarks.scenarios.written import scenario, stream
from tests.scheduler.ledger.made import placement

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def booked(path: Path, events: Sequence[Event], placements: dict[GuestName, Placement]) -> tuple[LedgerEvent, ...]:
    """The ledger's events of these, each at the time at which it was: the ledger's own clock shows that of the test."""
    ledger = open_ledger(path)
    claims: dict[GuestName, Claim] = {}
    at_s: list[float] = []
    for event in events:
        for name in event.departures:
            if name in claims:
                ledger.move(claims[name], State.RELEASED, step="destroy")
                at_s.append(event.at_s)
        for guest in event.arrivals:
            if guest.name in placements:
                claims[guest.name] = ledger.accept(placements[guest.name], f"uuid of {guest.name}")
                at_s.append(event.at_s)
    told = ledger.events()
    ledger.close()
    return tuple(replace(event, at=BEGAN + timedelta(seconds=s)) for event, s in zip(told, at_s, strict=True))


def kind(guest: GuestRequest) -> tuple[object, ...]:
    return guest.name, guest.vcpus, guest.memory_kib, guest.cells, guest.cpus, guest.overhead_kib


def test_what_a_scenario_did_is_replayed_from_the_books(tmp_path: Path) -> None:
    """Who was placed comes and goes again at the same times, and asks for as much."""
    flavours = [
        {"name": "small", "vcpus": 2, "memory": "4GiB"},
        {"name": "own", "vcpus": 4, "memory": "8GiB", "cpus": "dedicated"},
        {"name": "cells", "vcpus": 4, "memory": "8GiB", "cells": 2},
    ]
    play = scenario(stream(flavours=flavours, events=60, load=60)).play(1)
    events = list(play.events())
    came = [guest for event in events for guest in event.arrivals]
    answer = load_policy("first-fit")(came, play.fleet, Effort(time_limit_s=None, deterministic_limit=1.0))
    placements = {d.guest: d for d in answer.decisions if isinstance(d, Placement)}
    assert len(placements) > 20
    again = list(events_of(comings_of(booked(tmp_path / "ledger", events, placements))))
    told = [guest for event in again for guest in event.arrivals]
    assert [kind(guest) for guest in came if guest.name in placements] == [kind(guest) for guest in told]
    first = next(event.at_s for event in events if event.arrivals)
    gone = {name: event.at_s - first for event in events for name in event.departures if name in placements}
    replayed = {name: event.at_s for event in again for name in event.departures}
    assert gone.keys() == replayed.keys()
    assert all(replayed[name] == pytest.approx(at_s, abs=1e-5) for name, at_s in gone.items())


def test_a_ledger_is_a_scenario(tmp_path: Path) -> None:
    """By its path; a guest of the same name that comes again gets a number."""
    ledger = open_ledger(tmp_path / "ledger")
    claim = ledger.accept(placement("db", cpus="0-1", dedicated=True, gib=2), "uuid")
    ledger.move(claim, State.RELEASED, step="destroy")
    ledger.accept(placement("db", vcpus=3), "another")
    ledger.accept(placement("web"), "a third")
    events = ledger.events()
    ledger.close()
    later = [replace(event, at=BEGAN + timedelta(seconds=n)) for n, event in enumerate(events)]
    comings = comings_of(later)
    assert [("db", 0, 1), ("db.2", 2, None), ("web", 3, None)] == [(c.request.name, c.at_s, c.until_s) for c in comings]
    assert (CpuPolicy.DEDICATED, 2) == (comings[0].request.cpus, comings[0].request.vcpus)
    play = scenario({"ledger": {"path": str(tmp_path / "ledger")}})
    assert play.digest == play.digest
    names = [guest.name for event in play.play(1).events() for guest in event.arrivals]
    assert {"db.2", "web"} <= set(names)


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """And none is made where there is none."""
    with pytest.raises(BadInputError, match="no such ledger"):
        read_replay(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "text").write_text("no ledger", encoding="utf-8")
    with pytest.raises(LedgerUnreachableError):
        read_replay(tmp_path / "text")
