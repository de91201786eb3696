"""What is closed, who may still come, and books that an older numaplace has written."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from scheduler.ledger import ConflictError, Ledger, State, fold, fold_cordons
from tests.scheduler.ledger.made import look, placement


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize(("node", "place"), [(None, "h1"), (0, "node 0 of h1")])
def test_what_is_cordoned_is_not_promised(ledger: Ledger, node: int | None, place: str) -> None:
    """Also on a look that was taken before; a guest for another place is, and all are when it is open."""
    before = look()
    words = ("h1",) if node is None else ("h1", node)
    assert ledger.cordons.close(*words)  # type: ignore[arg-type]
    claim = ledger.accept(placement("db"), "u")
    with pytest.raises(ConflictError, match=f"guest db: {place} is cordoned.\nMaybe plan again, or open it") as caught:
        ledger.reserve(claim, before, counted=())
    assert (5, claim) == (caught.value.exit_status, ledger.claim(claim.claim_id))
    if node is not None:
        other = ledger.accept(placement("web", node=1, cpus="4-7"), "u")
        assert ledger.reserve(other, before, counted=()).state is State.RESERVED
    assert ledger.cordons.open(*words)  # type: ignore[arg-type]
    assert ledger.reserve(claim, look(ledger.outstanding("h1")), counted=()).state is State.RESERVED


def test_a_host_that_is_opened_keeps_its_nodes_closed(ledger: Ledger) -> None:
    """Each was closed by itself."""
    ledger.cordons.close("h1")
    ledger.cordons.close("h1", 1)
    ledger.cordons.close("h2", 0)
    assert ["h1", "node 1 of h1", "node 0 of h2"] == [str(cordon) for cordon in ledger.cordons.all()]
    ledger.cordons.open("h1")
    assert ["node 1 of h1", "node 0 of h2"] == [str(cordon) for cordon in ledger.cordons.all()]


def test_cordon_events_are_only_appended(ledger: Ledger) -> None:
    """Not even by hand."""
    ledger.cordons.close("h1")
    with sqlite3.connect(ledger.path) as connection:
        for statement in ("DELETE FROM cordon_event", "UPDATE cordon_event SET closed = 0"):
            with pytest.raises(sqlite3.IntegrityError, match="only appended"):
                connection.execute(statement)


def test_books_of_an_older_numaplace_are_brought_up_to_date(ledger: Ledger) -> None:
    """Schema 1 had no adopted guests and no cordons: what was in it is kept, and both work."""
    claim = ledger.reserve(ledger.accept(placement("db"), "u"), look(), counted=())
    ledger.close()
    with sqlite3.connect(ledger.path) as connection:
        connection.executescript(
            "DROP TABLE cordon; DROP TABLE cordon_event; ALTER TABLE claim DROP COLUMN adopted;"
            "UPDATE ledger SET schema = 1;"
        )
    again = Ledger(ledger.path)
    assert (ledger.ledger_id, claim) == (again.ledger_id, again.claim(claim.claim_id))
    again.adopt(placement("theirs", node=1, cpus="4-7"), "v", look(again.outstanding("h1")), counted=[claim.claim_id])
    again.cordons.close("h1")
    assert fold(again.events()) == again.books()
    assert fold_cordons(again.cordons.events()) == again.cordons.all()
    assert [False, True] == [each.adopted for each in Ledger(ledger.path).claims()]
