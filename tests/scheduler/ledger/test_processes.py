"""Several schedulers on one ledger: real processes, one SQLite file, one small host."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from scheduler.ledger import ConflictError, Ledger, State, fold
from tests.scheduler.ledger.made import look, placement

PROCESSES = 3
ROUNDS = 25


def work(path: Path, number: int) -> None:
    """Promise and give back at random, on looks that are old by the time they are used."""
    dice, ledger, mine = random.Random(number), Ledger(path), []  # noqa: S311
    for turn in range(ROUNDS):
        claims = ledger.outstanding("h1")
        capacity, counted = look(claims), {claim.claim_id for claim in claims}
        node = dice.randrange(2)
        if dice.random() < 0.5:
            cpu = 4 * node + dice.randrange(4)
            wish = placement(f"g{number}-{turn}", node=node, cpus=str(cpu), gib=2, dedicated=True)
        else:
            wish = placement(f"g{number}-{turn}", node=node, cpus=f"{4 * node}-{4 * node + 3}", gib=2)
        claim = ledger.accept(wish, wish.guest)
        try:
            mine.append(ledger.reserve(claim, capacity, counted=counted))
        except ConflictError:
            ledger.move(claim, State.FAILED, step="test")
        if len(mine) > 1 or dice.random() < 0.3:
            for held in mine[:1]:
                ledger.move(held, State.FAILED, step="test")
            del mine[:1]


def test_several_processes_promise_nothing_twice(tmp_path: Path) -> None:
    """No error but conflicts, tables equal the fold, and at no time did two claims hold one thing."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    code = "import sys; from pathlib import Path; from tests.scheduler.ledger.test_processes import work; "
    code += "work(Path(sys.argv[1]), int(sys.argv[2]))"
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), str(n)]) for n in range(PROCESSES)]
    assert [0] * PROCESSES == [child.wait(timeout=120) for child in children]
    events = ledger.events()
    assert fold(events) == ledger.books()
    reserved = [event for event in events if event.holding is not None]
    assert len({event.guest.split("-")[0] for event in reserved}) == PROCESSES
    assert len(reserved) > ROUNDS
    for count in range(len(events)):
        assert_sound(events[: count + 1])


def assert_sound(history: tuple[object, ...]) -> None:
    """Replayed from the events alone: at most 7 GiB a node, and no pCPU for two."""
    books = fold(history)  # type: ignore[arg-type]
    for node in (0, 1):
        assert sum(held.memory_kib.get((node, 4), 0) for held in books.holdings.values()) <= 7 * 1024**2
    owned = [cpu for held in books.holdings.values() for cpu in held.own_cpus]
    assert len(owned) == len(set(owned))
    assert not {cpu for held in books.holdings.values() for cpu in held.floating_cpus} & set(owned)
