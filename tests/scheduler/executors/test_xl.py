"""The executor of xl: a real shell, real files and real quoting, here and over ssh, before recorded answers of Xen."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from probe.cpuset import CpuSet
from probe.snapshot import OccupantState
from probe.sources.shell import HostShell
from probe.sources.ssh import SshTarget
from scheduler.definitions.identity import Identity
from scheduler.executors.port import (
    CannotMarkError,
    CannotMoveError,
    DefiniteFailureError,
    DefinitionKind,
    DomainDefinition,
    DomainFound,
    HostUnreachableError,
    NameTakenError,
    OutcomeUnknownError,
)
from scheduler.executors.xl import XlExecutor
from tests.scheduler.executors.fake_xl import IN_PLACE, MISPLACED, SPILLED, FakeXl, recorded, rows
from tests.scheduler.ledger.made import placement

OTHER = "00000000-1111-5222-8333-444444444444"


@pytest.fixture
def xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeXl:
    fake = FakeXl.made(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    return fake


@pytest.fixture(params=["here", "ssh"])
def executor(xen: FakeXl, request: pytest.FixtureRequest) -> XlExecutor:
    target = SshTarget(host="x1", user="root") if request.param == "ssh" else None
    return XlExecutor(HostShell(target), definitions=str(xen.definitions))


def definition(uuid: str = IN_PLACE, name: str = "on-n2", *, more: str = "") -> DomainDefinition:
    text = f'# numaplace ledger=l1 claim=c1\nname = "{name}"\nuuid = "{uuid}"\nmemory = 192\n{more}'
    return DomainDefinition(guest=name, uuid=uuid, kind=DefinitionKind.XL_CFG, text=text)


def found(state: OccupantState, uuid: str = IN_PLACE, guest: str = "on-n2") -> DomainFound:
    return DomainFound(guest=guest, uuid=uuid, state=state, ledger="l1", claim="c1", preallocated=True)


def create(xen: FakeXl, uuid: str = IN_PLACE) -> str:
    return f"create -p {xen.definitions}/{uuid}.cfg"


# -- what is there ------------------------------------------------------------------------------------


def test_a_definition_is_a_domain_that_is_shut_off(executor: XlExecutor, xen: FakeXl) -> None:
    """Defined, found with our mark, defined again, undefined twice; for root's eyes only."""
    assert executor.find(IN_PLACE) is None
    executor.define(definition())
    assert found(OccupantState.SHUTOFF) == executor.find(IN_PLACE)
    executor.define(definition())
    path = xen.definitions / f"{IN_PLACE}.cfg"
    assert definition().text == path.read_text()
    assert (0o600, 0o700) == (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))
    executor.undefine(IN_PLACE)
    executor.undefine(IN_PLACE)
    assert executor.find(IN_PLACE) is None
    assert [] == list(xen.definitions.iterdir())


def test_a_guest_that_is_let_go_keeps_its_file_without_our_mark(executor: XlExecutor, xen: FakeXl) -> None:
    """Every other byte stays; a second time, and a guest without a file, change nothing."""
    executor.define(definition())
    path = xen.definitions / f"{IN_PLACE}.cfg"
    path.write_bytes(path.read_bytes() + b"# \xff\n")
    executor.clear_mark(IN_PLACE)
    executor.clear_mark(IN_PLACE)
    executor.clear_mark(OTHER)
    _, _, kept = definition().text.partition("\n")
    assert kept.encode() + b"# \xff\n" == path.read_bytes()
    assert [path] == list(xen.definitions.iterdir())
    stranger = executor.find(IN_PLACE)
    assert stranger is not None
    assert (stranger.state, stranger.ledger, stranger.claim) == (OccupantState.SHUTOFF, None, None)


def test_a_running_guest_is_bound_again(executor: XlExecutor, xen: FakeXl) -> None:
    """Each vCPU by its domain's id; none of another domain that has got the id meanwhile."""
    placed = placement("on-n2", cpus="4-5", vcpus=2)
    xen.lists(rows(IN_PLACE))
    for vcpu in (0, 1):
        xen.says(f"vcpu-pin 5 {vcpu} 4-5")
    executor.rebind(IN_PLACE, placed)
    assert ["vcpu-pin 5 0 4-5", "vcpu-pin 5 1 4-5"] == xen.calls
    xen.says("list -v 5", rows(MISPLACED).replace(" 6 ", " 5 "))
    with pytest.raises(DefiniteFailureError, match="gone"):
        executor.rebind(IN_PLACE, placed)
    assert [] == xen.calls
    with pytest.raises(CannotMoveError, match="moves none"):
        executor.move_memory(IN_PLACE, placed)


def test_no_mark_can_be_set_in_a_guest_that_others_made(executor: XlExecutor) -> None:
    """It is then known by its uuid (`scheduler.handover`)."""
    with pytest.raises(CannotMarkError, match="keeps no metadata"):
        executor.set_mark(Identity(uuid=OTHER, ledger="l1", claim="c1"))


def test_a_domain_is_its_file_and_its_row_together(executor: XlExecutor, xen: FakeXl) -> None:
    """Running and marked; running without a file is a stranger; a file that somebody broke has no name.

    Bytes that are no text hide nothing of a file.
    """
    executor.define(definition())
    (xen.definitions / f"{OTHER}.cfg").write_text('name = "half')
    with (xen.definitions / f"{IN_PLACE}.cfg").open("ab") as file:
        file.write(b"# \xff\0\n")
    (xen.definitions / "notes.cfg").write_text("# numaplace ledger=l1 claim=c9\n")
    xen.lists(rows(IN_PLACE, MISPLACED))
    dom0, broken, stranger, ours = executor.list_domains()
    assert ("Domain-0", None) == (dom0.guest, dom0.ledger)
    assert (OTHER, OccupantState.SHUTOFF, None) == (broken.guest, broken.state, broken.ledger)
    assert DomainFound(guest="string", uuid=MISPLACED, state=OccupantState.PAUSED) == stranger
    assert found(OccupantState.RUNNING) == ours == executor.find(IN_PLACE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
def test_no_text_of_a_definition_is_anything_but_text(executor: XlExecutor, xen: FakeXl, text: str) -> None:
    """Quotes, dollars, line ends of other systems, our own cut: stored as they are, and no other domain's."""
    hostile = f"# {text}\nnumaplace-cut\n{OTHER}.cfg:# numaplace ledger=l2 claim=c2\n"
    executor.define(definition(more=hostile))
    assert definition(more=hostile).text.encode() == (xen.definitions / f"{IN_PLACE}.cfg").read_bytes()
    assert [IN_PLACE] == [domain.uuid for domain in executor.list_domains() if domain.ledger == "l1"]
    assert executor.find(OTHER) is None


@pytest.mark.parametrize("uuid", ["../../etc/x", "$(id)", "-rf", IN_PLACE.upper(), ""])
def test_what_is_no_uuid_becomes_no_file(executor: XlExecutor, uuid: str) -> None:
    """Nothing is written, nothing removed."""
    for call in (lambda: executor.define(definition(uuid)), lambda: executor.undefine(uuid)):
        with pytest.raises(DefiniteFailureError, match="expected a uuid"):
            call()


def test_a_name_is_never_taken_over(executor: XlExecutor, xen: FakeXl) -> None:
    """Neither from a running domain nor from a definition with another uuid."""
    executor.define(definition(OTHER, "mine"))
    xen.lists(rows(MISPLACED))
    for name in ("mine", "string"):
        with pytest.raises(NameTakenError, match="exists, uuid"):
            executor.define(definition(IN_PLACE, name))
    assert executor.find(IN_PLACE) is None


def test_a_definition_whose_end_was_lost_is_none(xen: FakeXl) -> None:
    """A connection that breaks ends standard input early: what stood there before stays."""
    executor = XlExecutor(HostShell(SshTarget(host="x1")), definitions=str(xen.definitions))
    executor.define(definition())
    xen.breaks_after(40)
    with pytest.raises(OutcomeUnknownError, match="connection was lost"):
        executor.define(definition(more="vcpus = 2\n"))
    assert [f"{IN_PLACE}.cfg"] == [path.name for path in xen.definitions.iterdir()]
    assert found(OccupantState.SHUTOFF) == executor.find(IN_PLACE)
    assert definition().text == (xen.definitions / f"{IN_PLACE}.cfg").read_text()


# -- what is done -------------------------------------------------------------------------------------


def test_a_guest_is_created_paused_resumed_and_destroyed(executor: XlExecutor, xen: FakeXl) -> None:
    """Each act once, by the domain id that has the uuid now; repeated, each succeeds without an act."""
    executor.define(definition())
    xen.says(create(xen), err="Parsing config from x\nWARNING: something\n", then=xen.later(rows(IN_PLACE, pause=True)))
    executor.start_paused(IN_PLACE)
    executor.start_paused(IN_PLACE)
    assert [create(xen)] == xen.calls
    assert found(OccupantState.PAUSED) == executor.find(IN_PLACE)
    xen.says("unpause 5", then=xen.later(rows(IN_PLACE)))
    executor.resume(IN_PLACE)
    executor.resume(IN_PLACE)
    assert ["unpause 5"] == xen.calls
    xen.says("destroy 5", then=xen.later(rows()))
    executor.destroy(IN_PLACE)
    executor.destroy(IN_PLACE)
    assert ["destroy 5"] == xen.calls
    assert found(OccupantState.SHUTOFF) == executor.find(IN_PLACE)


def test_an_id_that_was_given_to_another_domain_is_not_touched(executor: XlExecutor, xen: FakeXl) -> None:
    """Between the look and the act, domain 6 has become another one: it is left alone."""
    xen.lists(rows(MISPLACED))
    xen.says("list -v 6", rows(MISPLACED).replace(MISPLACED, OTHER))
    for act in (executor.resume, executor.destroy):
        with pytest.raises(DefiniteFailureError, match="gone"):
            act(MISPLACED)
    assert [] == xen.calls


def test_a_domain_that_went_away_by_itself_is_destroyed(executor: XlExecutor, xen: FakeXl) -> None:
    """xl's refusal is looked into: what is gone is gone."""
    xen.lists(rows(MISPLACED))
    xen.says("list -v 6", err=recorded("list-gone.err"), status=1, then=xen.later(rows()))
    executor.destroy(MISPLACED)
    xen.lists(rows(MISPLACED))
    xen.says("destroy 6", err=recorded("destroy-gone.err"), status=1, then=xen.later(rows()))
    executor.destroy(MISPLACED)
    assert ["destroy 6"] == xen.calls


def test_the_good_end_of_unpause_is_not_believed(executor: XlExecutor, xen: FakeXl) -> None:
    """xl 4.17 ends with status 0 when it could not unpause (recorded): Xen is asked."""
    xen.lists(rows(MISPLACED))
    xen.says("unpause 6", err=recorded("unpause-gone.err"))
    with pytest.raises(DefiniteFailureError, match="paused still"):
        executor.resume(MISPLACED)


def test_a_host_that_is_lost_right_after_unpause_leaves_it_unknown(executor: XlExecutor, xen: FakeXl) -> None:
    """The guest may run by now, so this is not "nothing was asked"."""
    xen.lists(rows(MISPLACED))
    later = xen.later(rows())
    later.says("list -v", err="xenstore is gone", status=1)
    xen.says("unpause 6", then=later)
    with pytest.raises(OutcomeUnknownError, match="xenstore"):
        executor.resume(MISPLACED)


def test_what_is_not_there_cannot_be_started_resumed_or_observed(executor: XlExecutor) -> None:
    """Refused, and nothing is asked of Xen."""
    for act in (executor.start_paused, executor.resume):
        with pytest.raises(DefiniteFailureError, match=f"no domain {IN_PLACE}"):
            act(IN_PLACE)


def test_a_dying_namesake_does_not_hide_its_successor(executor: XlExecutor, xen: FakeXl) -> None:
    """A rebooted guest has two rows for a moment; alone, the dying one does not count as started."""
    dying = rows(MISPLACED).splitlines(keepends=True)[-1].replace("--p---", "--p--d").replace("    6 ", "    9 ")
    executor.define(definition(MISPLACED, "string"))
    xen.lists(rows(MISPLACED) + dying)
    assert found(OccupantState.PAUSED, MISPLACED, "string") == executor.find(MISPLACED)
    xen.lists(rows() + dying)
    xen.says(create(xen, MISPLACED), then=xen.later(rows(MISPLACED) + dying))
    executor.start_paused(MISPLACED)
    assert [create(xen, MISPLACED)] == xen.calls


# -- what fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "status", "error"),
    [
        ("create-same-name", 3, NameTakenError),
        ("create-no-file", 3, DefiniteFailureError),
        ("create-no-kernel", 3, DefiniteFailureError),
        ("create-bad-disk", 3, DefiniteFailureError),
        ("as-nobody", 1, DefiniteFailureError),
    ],
)
def test_what_xl_refused_to_create(
    executor: XlExecutor, xen: FakeXl, recording: str, status: int, error: type[Exception]
) -> None:
    """Recorded refusals, after each of which the lab's Xen had no trace of the guest."""
    executor.define(definition())
    xen.says(create(xen), err=recorded(f"{recording}.err"), status=status)
    with pytest.raises(DefiniteFailureError) as caught:
        executor.start_paused(IN_PLACE)
    assert type(caught.value) is error
    assert "Parsing config" not in caught.value.message


def test_somebody_else_started_this_very_guest(executor: XlExecutor, xen: FakeXl) -> None:
    """The name is taken by the same uuid: it is started."""
    executor.define(definition())
    taken = recorded("create-same-name.err")
    xen.says(create(xen), err=taken, status=3, then=xen.later(rows(IN_PLACE, pause=True)))
    executor.start_paused(IN_PLACE)


def test_an_act_whose_words_nobody_knows_is_indefinite(executor: XlExecutor, xen: FakeXl) -> None:
    """Only a look can tell."""
    executor.define(definition())
    xen.says(create(xen), err="libxl: error: something new\n", status=3)
    with pytest.raises(OutcomeUnknownError, match="something new") as caught:
        executor.start_paused(IN_PLACE)
    assert "reconcile" in caught.value.advice


def test_a_look_that_fails_says_nothing_of_the_domains(executor: XlExecutor, xen: FakeXl) -> None:
    """Never "there is none": undoing would then forget a guest that runs."""
    xen.says("list -v", err=recorded("as-nobody.err"), status=1)
    for call in (executor.list_domains, lambda: executor.find(IN_PLACE), lambda: executor.destroy(IN_PLACE)):
        with pytest.raises(HostUnreachableError, match="Permission denied") as caught:
            call()
        assert "root" in caught.value.advice
    xen.says("list -v", "nonsense\n")
    with pytest.raises(OutcomeUnknownError, match="heading"):
        executor.list_domains()


def test_a_host_without_xl_is_not_opened(xen: FakeXl) -> None:
    """At once, before anything is asked of it."""
    (xen.folder / "bin/xl").unlink()
    with pytest.raises(HostUnreachableError, match="not found") as caught:
        XlExecutor(HostShell())
    assert "no Xen host" in caught.value.advice


# -- where it is --------------------------------------------------------------------------------------


def observed(xen: FakeXl, ring: str) -> None:
    xen.says("debug-keys u")
    xen.says("dmesg", ring)
    xen.says("list -v -c", recorded("xl-list-v-c.txt"))
    xen.says("vcpu-list", recorded("xl-vcpu-list.txt"))
    xen.says("cpupool-list -c", recorded("xl-cpupool-list-c.txt"))


def test_affinity_and_pages_are_xens_own(executor: XlExecutor, xen: FakeXl) -> None:
    """The recorded trap: a string `cpus` binds the vCPUs as wanted, and the memory is elsewhere."""
    observed(xen, recorded("xl-dmesg.txt"))
    right, wrong, spilled = (executor.observe(uuid) for uuid in (IN_PLACE, MISPLACED, SPILLED))
    assert {0: CpuSet.of(4, 5), 1: CpuSet.of(4, 5)} == right.vcpu_cpus == wrong.vcpu_cpus
    assert {0: 0, 1: 0, 2: 192 * 1024, 3: 0} == right.resident_kib
    assert {0: 0, 1: 128 * 1024, 2: 0, 3: 0} == wrong.resident_kib
    assert spilled.resident_kib is not None
    assert (292864, 1959936) == (spilled.resident_kib[0], spilled.resident_kib[1])
    assert 3 == xen.calls.count("debug-keys u")


def test_a_truncated_dump_leaves_the_pages_unknown(executor: XlExecutor, xen: FakeXl) -> None:
    """Never a wrong figure: affinities are told, and what to do about the pages. The ring is never cleared."""
    observed(xen, recorded("xl-dmesg.txt")[-400:])
    seen = executor.observe(IN_PLACE)
    assert (None, CpuSet.of(4, 5)) == (seen.resident_kib, seen.vcpu_cpus[0])
    assert "conring_size" in seen.how
    assert {"debug-keys u", "dmesg", "vcpu-list", "cpupool-list -c"} == set(xen.calls)


def test_a_xen_that_refuses_the_dump_still_tells_affinities(executor: XlExecutor, xen: FakeXl) -> None:
    """Some security policies allow no debug keys."""
    observed(xen, "")
    xen.says("debug-keys u", err="Permission denied", status=1)
    seen = executor.observe(IN_PLACE)
    assert (None, CpuSet.of(4, 5)) == (seen.resident_kib, seen.vcpu_cpus[0])


def test_its_cpupool_bounds_every_affinity(executor: XlExecutor, xen: FakeXl) -> None:
    """ "all" is all of its pool."""
    observed(xen, recorded("xl-dmesg.txt"))
    xen.says(
        "vcpu-list", recorded("xl-vcpu-list.txt").replace("4-5 / 2-3", "all / 2-3").replace("4-5 / all", "2-5 / all")
    )
    xen.says("list -v -c", recorded("xl-list-v-c.txt").replace("Pool-0", "low   ", 3))
    xen.says("cpupool-list -c", "Name               CPU list\nlow                0,1,2,3\nhigh               4,5,6,7\n")
    assert CpuSet.parse("0-3") == executor.observe(MISPLACED).vcpu_cpus[0]
    assert CpuSet.parse("2-3") == executor.observe(IN_PLACE).vcpu_cpus[0]


def test_a_domain_that_is_gone_has_no_place(executor: XlExecutor, xen: FakeXl) -> None:
    """A definite answer."""
    observed(xen, recorded("xl-dmesg.txt"))
    with pytest.raises(DefiniteFailureError, match="no domain"):
        executor.observe(OTHER)
