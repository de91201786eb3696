"""What the books accept, refuse and tell."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from policies.promise import host_capacity
from policies.request import HostName
from probe.cpuset import CpuSet
from probe.snapshot import Occupant, OccupantMemory, OccupantState
from scheduler.ledger import (
    TRANSITIONS,
    Claim,
    ConflictError,
    Ledger,
    LedgerUnreachableError,
    State,
    fold,
    open_ledger,
    owner,
    shortages,
)
from tests.policies.hosts import GIB_KIB
from tests.scheduler.ledger.made import SNAPSHOT, HostRules, look, placement, unpinned


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "books" / "ledger.sqlite")


def reserved(ledger: Ledger, guest: str, **wish: object) -> Claim:
    """Accept and reserve on a fresh look."""
    claim = ledger.accept(placement(guest, **wish), f"uuid of {guest}")  # type: ignore[arg-type]
    claims = ledger.outstanding("h1")
    return ledger.reserve(claim, look(claims), counted=[c.claim_id for c in claims])


def test_a_dedicated_pcpu_is_refused_with_its_owners_name(ledger: Ledger) -> None:
    """Both looked before either reserved; the second learns which pCPU, where, and whose it is."""
    before = look()
    first, second = (ledger.accept(placement(g, cpus="1-2", dedicated=True), g) for g in ("db", "web"))
    ledger.reserve(first, before, counted=())
    with pytest.raises(ConflictError, match="pCPUs 1-2 of h1 are dedicated to db") as caught:
        ledger.reserve(second, before, counted=())
    assert (5, "h1", ("db",)) == (caught.value.exit_status, caught.value.host, caught.value.others)


def test_a_pcpu_that_was_dedicated_since_the_look_is_no_shared_one(ledger: Ledger) -> None:
    """Four shared vCPUs were planned beside it, and three pCPUs are left."""
    before = look()
    own = ledger.accept(placement("db", cpus="3", dedicated=True), "db")
    crowd = ledger.accept(placement("web", cpus="0-2", vcpus=4), "web")
    ledger.reserve(own, before, counted=())
    with pytest.raises(ConflictError, match="node 0 of h1 has room for 3 shared vCPUs, 4 are needed"):
        ledger.reserve(crowd, before, counted=())


def test_a_pcpu_that_shared_vcpus_need_is_not_dedicated(ledger: Ledger) -> None:
    """The other way round; given back, it is; and the books are the fold over it all."""
    before = look()
    crowd = ledger.accept(placement("web", cpus="0-2", vcpus=4), "web")
    own = ledger.accept(placement("db", cpus="3", dedicated=True), "db")
    crowd = ledger.reserve(crowd, before, counted=())
    with pytest.raises(ConflictError, match="node 0 of h1 has 4 shared vCPUs, too many") as caught:
        ledger.reserve(own, before, counted=())
    assert caught.value.others == ("web",)
    ledger.move(crowd, State.FAILED, step="test")
    assert ledger.reserve(own, before, counted=()).state is State.RESERVED
    assert fold(ledger.events()) == ledger.books()


def test_a_crowd_of_strangers_keeps_nobody_from_a_free_pcpu(ledger: Ledger) -> None:
    """Six of their vCPUs and one of ours float on three pCPUs; the fourth is nobody's."""
    claim = ledger.accept(placement("web", cpus="0-2"), "web")
    ledger.reserve(claim, look(), counted=())
    strangers = [placement("theirs", cpus="0-2", vcpus=6)]
    own = ledger.accept(placement("db", cpus="3", dedicated=True), "db")
    claims = ledger.outstanding("h1")
    seen = look(claims, strangers=strangers)
    assert ledger.reserve(own, seen, counted=[c.claim_id for c in claims]).state is State.RESERVED


def test_a_file_of_any_name_is_the_ledger(tmp_path: Path) -> None:
    """A name is no part of a URL."""
    for name in ("a?b=c.sqlite", "a#b.sqlite", "a%41.sqlite", "a b.sqlite"):
        made = Ledger(tmp_path / name)
        made.accept(placement("db"), "u")
        made.close()
        assert (tmp_path / name).is_file()
        assert [claim.guest for claim in Ledger(tmp_path / name).claims()] == ["db"]


def test_memory_is_refused_with_the_node_and_the_holders(ledger: Ledger) -> None:
    """4 of 7 GiB are promised since the look, so 4 more are not."""
    before = look()
    first, second = (ledger.accept(placement(g, gib=4), g) for g in ("db", "web"))
    ledger.reserve(first, before, counted=())
    with pytest.raises(ConflictError, match="node 0 of h1 has 3GiB left in pages of 4KiB, 4GiB are needed") as caught:
        ledger.reserve(second, before, counted=())
    assert ("db",) == caught.value.others


def test_an_old_look_does_not_hide_what_was_reserved_since(ledger: Ledger) -> None:
    """What fits beside it fits on the old look as well: nobody has to look again for nothing."""
    before = look()
    first, second = (ledger.accept(placement(g, gib=3), g) for g in ("db", "web"))
    ledger.reserve(first, before, counted=())
    assert ledger.reserve(second, before, counted=()).state is State.RESERVED


def test_a_claim_that_was_released_since_the_look_gives_no_room_twice(ledger: Ledger) -> None:
    """It was taken off by the look and holds nothing any more: the careful sum of the two counts."""
    old = reserved(ledger, "old", gib=4)
    claims = ledger.outstanding("h1")
    before = look(claims)
    ledger.move(old, State.FAILED, step="test")
    claim = ledger.accept(placement("new", gib=3), "u")
    ledger.reserve(claim, before, counted=[c.claim_id for c in claims])
    (memory,) = [row for place, row in ledger.books().memory.items() if place == ("h1", 0, 4)]
    assert (3 * GIB_KIB, 3 * GIB_KIB) == memory


def test_shared_vcpus_are_refused_over_the_overcommit(ledger: Ledger) -> None:
    """4 pCPUs take 4 shared vCPUs, whoever asks first."""
    before = look()
    first, second = (ledger.accept(placement(g, vcpus=3), g) for g in ("db", "web"))
    ledger.reserve(first, before, counted=())
    with pytest.raises(ConflictError, match="node 0 of h1 has room for 1 shared vCPUs, 3 are needed"):
        ledger.reserve(second, before, counted=())


def test_a_pcpu_on_which_a_guest_floats_is_not_dedicated(ledger: Ledger) -> None:
    """Each looked before the other reserved, in both orders."""
    before = look()
    shared, owning = placement("web"), placement("db", cpus="1", dedicated=True)
    for first, second in ((shared, owning), (owning, shared)):
        claim = ledger.reserve(ledger.accept(first, "u1"), before, counted=())
        other = ledger.accept(second, "u2")
        with pytest.raises(ConflictError, match=f"pCPUs 1 of h1 are .* {first.guest}|pCPUs 0-3 .* {first.guest}"):
            ledger.reserve(other, before, counted=())
        ledger.move(claim, State.FAILED, step="test")
        ledger.move(other, State.FAILED, step="test")


def test_what_was_promised_to_unpinned_guests_is_not_given_to_bound_ones(ledger: Ledger) -> None:
    """12 of the host's 14 GiB are on no node in particular; 3 on node 0 would make them 15."""
    before = look()
    ledger.reserve(ledger.accept(unpinned("anywhere", gib=12), "u1"), before, counted=())
    bound = ledger.accept(placement("web", gib=3), "u2")
    with pytest.raises(ConflictError, match="h1 has 2GiB left in pages of 4KiB, 3GiB are needed"):
        ledger.reserve(bound, before, counted=())


def test_a_stranger_who_came_since_the_plan_is_seen_at_the_reservation(ledger: Ledger) -> None:
    """No row of ours stands for a foreign guest; the look does."""
    stranger = Occupant(
        guest="theirs",
        uuid=None,
        state=OccupantState.RUNNING,
        vcpus=1,
        effective_cpus=CpuSet.of(1),
        memory=(OccupantMemory(node_id=SNAPSHOT.memory[0].node_id, kib=6 * GIB_KIB),),
    )
    now = host_capacity(HostName("h1"), replace(SNAPSHOT, occupants=(stranger,)), HostRules())
    claim = ledger.accept(placement("db", cpus="0-1", gib=2, dedicated=True), "u")
    with pytest.raises(ConflictError, match=r"pCPUs 1 .*not free.*node 0 of h1 has 1GiB left"):
        ledger.reserve(claim, now, counted=())
    assert ledger.claim(claim.claim_id) == claim


def test_what_is_there_is_adopted_however_full_its_host_is(ledger: Ledger) -> None:
    """6 vCPUs on 4 pCPUs and all the memory of node 0: taken as it is; then nobody else fits there.

    What it had is to be had again when it was let go and has gone.
    """
    theirs = placement("theirs", vcpus=6, gib=7)
    claim = ledger.adopt(theirs, "uuid of theirs", look(strangers=[theirs]), counted=())
    held = [claim.claim_id]
    now = look(ledger.outstanding("h1"), strangers=[theirs])
    web = ledger.accept(placement("web"), "u")
    with pytest.raises(ConflictError, match="room for 0 shared vCPUs, not 1; node 0 of h1 has 0KiB left"):
        ledger.reserve(web, now, counted=held)
    with pytest.raises(ConflictError, match="guest web: node 0 of h1 has 0KiB left"):
        ledger.reserve(web, look(), counted=())  # a look from before it came does not outwit the books
    elsewhere = ledger.accept(placement("far", node=1, cpus="4-7", vcpus=4), "u")
    assert ledger.reserve(elsewhere, now, counted=held).state is State.RESERVED
    ledger.move(claim, State.RELEASED, step="test")
    left = ledger.outstanding("h1")
    assert ledger.reserve(web, look(left), counted=[each.claim_id for each in left]).state is State.RESERVED


def test_shortages_name_shared_vcpus_too() -> None:
    """Five vCPUs on four pCPUs."""
    assert ("node 0 of h1 has room for 4 shared vCPUs, not 5",) == shortages(placement("web", vcpus=5), look())


def test_what_ends_gives_everything_back(ledger: Ledger) -> None:
    """Counters fall to what the others hold; pCPUs are free; the guest may come again."""
    claim = reserved(ledger, "db", cpus="0-1", gib=4, dedicated=True)
    ledger.move(claim, State.FAILED, step="test")
    books = ledger.books()
    assert ({}, {}, {}) == (books.holdings, books.owners, books.floating)
    assert {0} == {used for used, _ in books.memory.values()}
    assert reserved(ledger, "db", cpus="0-1", gib=7, dedicated=True).state is State.RESERVED


def test_a_guest_is_in_the_books_once(ledger: Ledger) -> None:
    """Also on another host."""
    ledger.accept(placement("db"), "u")
    with pytest.raises(ConflictError, match="guest db: is in the books already"):
        ledger.accept(placement("db", host="h2"), "u")


def test_only_the_last_reader_may_move_a_claim(ledger: Ledger) -> None:
    """Fencing: the generation that a transition names must be the claim's."""
    claim = reserved(ledger, "db")
    ledger.move(claim, State.DEFINED, step="define")
    with pytest.raises(ConflictError, match="another numaplace moved its claim"):
        ledger.move(claim, State.UNKNOWN, step="define")


def test_a_claim_in_the_hands_of_a_living_process_is_not_taken(ledger: Ledger) -> None:
    """When that process has gone, it is taken at once; where nobody can tell, after the lease."""
    claim = ledger.accept(placement("db"), "u")
    cases = {owner.Fate.ALIVE: True, owner.Fate.GONE: False, owner.Fate.OURSELVES: False, owner.Fate.UNKNOWN: True}
    for fate, busy in cases.items():
        with mock.patch("scheduler.ledger.owner.fate", return_value=fate):
            assert busy is ledger.is_busy(claim), fate
            if busy:
                with pytest.raises(ConflictError, match="another numaplace works on it"):
                    ledger.take(claim)
    with mock.patch("scheduler.ledger.owner.fate", return_value=owner.Fate.UNKNOWN):
        assert not ledger.is_busy(replace(claim, lease_s=-1))
        assert not ledger.is_busy(ledger.leave(claim, note="host does not answer"))


def test_the_fate_of_a_process_is_told_from_its_start(tmp_path: Path) -> None:
    """A living child, the same when it has gone, a pid that is another's, another machine."""
    code = "from scheduler.ledger.owner import this_process; print(this_process(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        line = child.stdout.readline().strip()
        assert owner.Fate.ALIVE is owner.fate(line)
        assert owner.Fate.GONE is owner.fate(line[:-1] + ("1" if line[-1] != "1" else "2"))
        child.communicate("\n")
    assert owner.Fate.GONE is owner.fate(line)
    assert owner.Fate.UNKNOWN is owner.fate(f"x{line}")
    assert owner.Fate.UNKNOWN is owner.fate("")
    assert owner.Fate.OURSELVES is owner.fate(owner.this_process())


def test_every_state_can_end_and_ended_ones_stay() -> None:
    """From each live state a way leads to `released` or `failed`; from those, none."""
    for state in State:
        reached, todo = {state}, [state]
        while todo:
            fresh = TRANSITIONS[todo.pop()] - reached
            reached |= fresh
            todo += fresh
        ends = {State.RELEASED, State.FAILED}
        assert reached & ends if state.is_live else reached == {state}


def test_claims_are_found_by_host_and_state(ledger: Ledger) -> None:
    """In the order of acceptance; what is only planned is promised nothing."""
    reserved(ledger, "db")
    ledger.accept(placement("web"), "u")
    ledger.accept(placement("far", host="h2"), "u")
    assert ["db", "web"] == [claim.guest for claim in ledger.claims(host="h1")]
    assert ["web", "far"] == [claim.guest for claim in ledger.claims(states=[State.PLANNED])]
    assert ["db"] == [claim.placement.guest for claim in ledger.outstanding("h1")]
    assert ["planned", "reserved"] == [event.state.value for event in ledger.events("db")]


def test_a_ledger_is_the_same_when_it_is_opened_again(ledger: Ledger) -> None:
    """Id, claims and events."""
    reserved(ledger, "db", gib=2)
    again = Ledger(ledger.path)
    assert (ledger.ledger_id, ledger.books()) == (again.ledger_id, again.books())


def test_events_are_only_appended(ledger: Ledger) -> None:
    """Not even by hand."""
    ledger.accept(placement("db"), "u")
    with sqlite3.connect(ledger.path) as connection:
        for statement in ("DELETE FROM event", "UPDATE event SET guest = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="only appended"):
                connection.execute(statement)


def test_a_newer_schema_is_refused_with_advice(ledger: Ledger) -> None:
    """A newer numaplace may mean something else by a row."""
    with sqlite3.connect(ledger.path) as connection:
        connection.execute("UPDATE ledger SET schema = 99")
    with pytest.raises(LedgerUnreachableError, match=r"schema 99.*\nMaybe a newer numaplace"):
        Ledger(ledger.path)


@pytest.mark.parametrize("content", [b"not a database at all, " * 50, b""])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes) -> None:
    """Garbage, and the database of something else, are left as they are."""
    path = tmp_path / "ledger.sqlite"
    if content:
        path.write_bytes(content)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(LedgerUnreachableError, match=r"ledger\.sqlite: .*\nMaybe give another file") as caught:
        Ledger(path)
    assert (6, before[:30]) == (caught.value.exit_status, path.read_bytes()[:30])


def test_a_folder_that_cannot_be_made_is_a_ledger_that_cannot_be_reached(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnreachableError):
        Ledger(tmp_path / "file" / "ledger.sqlite")


def test_a_full_disk_takes_nothing_half(ledger: Ledger) -> None:
    """The write fails as a whole, with a typed error, and the books go on afterwards."""
    claim = ledger.accept(placement("db"), "u")
    before = ledger.books()
    with (
        mock.patch("scheduler.ledger.ledger.append_event", side_effect=_disk_full(ledger)),
        pytest.raises(LedgerUnreachableError, match="full"),
    ):
        ledger.reserve(claim, look(), counted=())
    assert before == ledger.books()
    assert ledger.reserve(claim, look(), counted=()).state is State.RESERVED


def _disk_full(ledger: Ledger) -> Exception:
    del ledger
    from sqlalchemy.exc import OperationalError

    return OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))


def test_the_default_file_is_in_the_users_state_folder(tmp_path: Path) -> None:
    """--ledger, else NUMAPLACE_LEDGER, else XDG_STATE_HOME."""
    with mock.patch.dict(os.environ, {"XDG_STATE_HOME": str(tmp_path)}):
        os.environ.pop("NUMAPLACE_LEDGER", None)
        assert tmp_path / "numaplace" / "ledger.sqlite" == open_ledger().path
        os.environ["NUMAPLACE_LEDGER"] = str(tmp_path / "env.sqlite")
        assert tmp_path / "env.sqlite" == open_ledger().path
        assert tmp_path / "given.sqlite" == open_ledger(tmp_path / "given.sqlite").path
