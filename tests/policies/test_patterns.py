"""Whole fleets by patterns: every rule holds, the bounds are bounds, and small answers are (nearly) the best."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, strategies as st

from policies.patterns.apart import Dealer
from policies.patterns.grid import Grid, Table
from policies.patterns.left import Left
from policies.patterns.place import place
from policies.patterns.question import Batch, Flavour, Form, GroupOf, Homes, Ints, Share, Supply
from policies.patterns.verify import broken_rules
from policies.patterns.ways import ways_of
from policies.request import GroupRule

MIB = 1024
GIB = 1024 * MIB
HUGE = 1 << 20


def supply_of(*hosts: Sequence[tuple[int, int, int]], racks: Sequence[int] = ()) -> Supply:
    """Hosts of nodes with (vCPUs, GiB of 4 KiB pages, 1 GiB pages)."""
    nodes = np.array([node for host in hosts for node in host], dtype=np.int64)
    return Supply(
        first_row=np.concatenate(([0], np.cumsum([len(host) for host in hosts]))),
        cpus=nodes[:, 0],
        memory_kib={4: nodes[:, 1] * GIB, HUGE: nodes[:, 2] * GIB},
        domains={"rack": np.array(racks or [0] * len(hosts))},
    )


def flavour_of(vcpus: int, gib: int, *cells: int, page_kib: int = 4, overhead_mib: int = 0, weight: int = 1) -> Flavour:
    """A guest of so much, in as many cells as each form tells."""
    forms = tuple(Form(shares=(Share(vcpus=vcpus // n, memory_kib=gib * GIB // n),) * n) for n in cells or (1,))
    return Flavour(forms=forms, weight=weight, page_kib=page_kib, overhead_kib=overhead_mib * MIB)


def group_of(rule: GroupRule, level: str, members: Sequence[int], parts: Sequence[int] = ()) -> GroupOf:
    return GroupOf(rule=rule, level=level, members=np.array(members), parts=np.array(parts or [0] * len(members)))


@st.composite
def supplies(draw: st.DrawFn) -> Supply:
    node = st.tuples(st.integers(0, 9), st.integers(0, 12), st.integers(0, 4))
    hosts = draw(st.lists(st.lists(node, min_size=1, max_size=3), min_size=1, max_size=4))
    return supply_of(*hosts, racks=draw(st.lists(st.integers(0, 1), min_size=len(hosts), max_size=len(hosts))))


@st.composite
def flavours(draw: st.DrawFn) -> Flavour:
    cells = draw(st.sampled_from([(1,), (2,), (1, 2), (3,)]))
    vcpus, gib = (draw(st.integers(1, 3)) * 6 // (2 if cells == (1,) else 1) for _ in range(2))
    made = flavour_of(vcpus, gib, *cells, page_kib=draw(st.sampled_from([4, 4, HUGE])), weight=draw(st.integers(1, 3)))
    return replace(made, overhead_kib=draw(st.sampled_from([0, 100 * MIB])))


@st.composite
def batches(draw: st.DrawFn, most: int = 30) -> Batch:
    kinds = tuple(draw(st.lists(flavours(), min_size=1, max_size=3)))
    guests = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=most))
    cut = draw(st.integers(0, len(guests)))
    rule, level = draw(st.sampled_from(list(GroupRule))), draw(st.sampled_from(["host", "rack"]))
    parts = draw(st.lists(st.integers(0, 1), min_size=cut, max_size=cut))
    groups = (group_of(rule, level, range(cut), parts),) if cut else ()
    return Batch(flavours=kinds, flavour_of=np.array(guests), groups=groups, fewest_hosts=draw(st.booleans()))


def every_home(supply: Supply, flavour: Flavour) -> Iterator[tuple[int, tuple[int, ...]]]:
    """No home, then every form on every ordered choice of nodes of one host."""
    yield -1, ()
    for form, shape in enumerate(flavour.forms):
        for first, end in itertools.pairwise(supply.first_row.tolist()):
            for rows in itertools.permutations(range(first, end), len(shape.shares)):
                yield form, rows


def all_answers(supply: Supply, batch: Batch) -> set[tuple[int, int, int]]:
    """The value, the nodes spanned and the hosts used of whatever the checker allows."""
    ways = [list(every_home(supply, batch.flavours[flavour])) for flavour in batch.flavour_of]
    found = set()
    for choice in itertools.product(*ways):
        homes = Homes.none(batch)
        for guest, (form, rows) in enumerate(choice):
            homes.form[guest], homes.rows[guest, : len(rows)] = form, rows
        value = sum(
            batch.flavours[f].weight for f, (form, _) in zip(batch.flavour_of, choice, strict=True) if form >= 0
        )
        reached = value, int((homes.rows[:, 1:] >= 0).sum()), hosts_of(supply, homes)
        if reached not in found and not broken_rules(supply, batch, homes):
            found.add(reached)
    return found


def hosts_of(supply: Supply, homes: Homes) -> int:
    return len(np.unique(supply.host_of_row()[homes.rows[homes.placed(), 0]]))


@given(supplies(), batches())
def test_every_rule_holds_and_no_answer_is_above_its_bound(supply: Supply, batch: Batch) -> None:
    answer = place(supply, batch)
    assert broken_rules(supply, batch, answer.homes) == []
    weights = np.array([flavour.weight for flavour in batch.flavours])
    assert answer.value == weights[batch.flavour_of[answer.homes.placed()]].sum() <= answer.bound


@given(supplies(), batches(), st.integers(0, 3))
def test_an_answer_that_had_no_time_is_sound_and_claims_little(supply: Supply, batch: Batch, looks: int) -> None:
    """Whenever the time is over: all rules hold, and bounds are those of everybody, or none."""
    left = iter(range(looks))
    answer = place(supply, batch, is_over=lambda: next(left, None) is None)
    assert broken_rules(supply, batch, answer.homes) == []
    assert answer.value <= place(supply, batch).bound <= answer.bound
    assert answer.packing_bound is None or answer.packing <= answer.packing_bound


@given(supplies(), batches(most=3))
def test_the_best_of_all_answers_is_between_the_value_and_the_bound(supply: Supply, batch: Batch) -> None:
    assume(np.prod([len(list(every_home(supply, batch.flavours[f]))) for f in batch.flavour_of]) <= 4_000)
    answer = place(supply, batch)
    answers = all_answers(supply, batch)
    assert (answer.value, answer.spanned, answer.hosts) in answers
    assert max(value for value, _, _ in answers) <= answer.bound
    if batch.fewest_hosts:
        alike = [hosts for value, spanned, hosts in answers if (value, spanned) == (answer.value, answer.spanned)]
        assert answer.packing_bound is not None
        assert answer.packing == -answer.hosts <= -min(alike) <= answer.packing_bound


@given(supplies(), batches(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_answer(supply: Supply, batch: Batch, seed: int) -> None:
    one, other = place(supply, batch, seed=seed), place(supply, batch, seed=seed)
    assert (one.homes.form == other.homes.form).all()
    assert (one.homes.rows == other.homes.rows).all()


def random_fleet(hosts: int, guests: int, seed: int) -> tuple[Supply, Batch]:
    """Hosts of two nodes under a random load, and more guests than they hold."""
    rng = np.random.default_rng(seed)
    nodes = np.stack([rng.integers(0, 33, 2 * hosts), rng.integers(0, 129, 2 * hosts)], axis=1)
    pairs = [[(*nodes[2 * h], 0), (*nodes[2 * h + 1], 0)] for h in range(hosts)]
    kinds = tuple(
        flavour_of(v, m, n) for v, m, n in [(2, 8, 1), (4, 8, 1), (8, 32, 1), (16, 32, 1), (16, 64, 2), (32, 64, 2)]
    )
    return supply_of(*pairs), Batch(flavours=kinds, flavour_of=rng.integers(0, len(kinds), guests))


@pytest.mark.parametrize("seed", range(3))
def test_a_fleet_that_overflows_is_filled_to_within_half_a_percent(seed: int) -> None:
    answer = place(*random_fleet(300, 1_300, seed))
    assert answer.value < 1_300
    assert answer.bound - answer.value <= 0.005 * answer.value


def test_room_is_kept_for_the_reference_guest() -> None:
    supply = supply_of(*[[(16, 64, 0), (16, 64, 0)]] * 6)
    reference = flavour_of(32, 128, 2, weight=0)
    batch = Batch(
        flavours=(flavour_of(4, 16), flavour_of(8, 32, 2), reference), flavour_of=np.array([0] * 12 + [1] * 4)
    )
    answer = place(supply, batch)
    assert (answer.value, answer.kept, answer.packing_bound) == (16, 3, 3)


def test_guests_may_keep_to_some_hosts() -> None:
    only_the_last = replace(flavour_of(2, 2), allowed=np.array([False, False, True]))
    batch = Batch(flavours=(only_the_last, flavour_of(2, 2)), flavour_of=np.array([0] * 4 + [1] * 4))
    answer = place(supply_of([(4, 64, 0)], [(4, 64, 0)], [(8, 64, 0)]), batch)
    assert answer.value == 8
    assert set(answer.homes.rows[:4, 0].tolist()) == {2}


def test_too_many_kinds_of_hosts_are_refused() -> None:
    hosts = np.arange(20)
    kinds = tuple(replace(flavour_of(2, 2), allowed=hosts == only) for only in range(20))
    with pytest.raises(ValueError, match="kinds of hosts"):
        place(supply_of(*[[(4, 4, 0)]] * 20), Batch(flavours=kinds, flavour_of=np.arange(20)))


@given(st.data())
def test_a_table_is_worth_as_much_as_the_best_fill(data: st.DataObject) -> None:
    sizes = (data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7)))
    grid = Grid(units=np.array([1, 1]), sizes=sizes, strides=np.array([sizes[1], 1]))
    item = st.tuples(st.integers(1, 4), st.integers(0, 4))
    items = np.array(data.draw(st.lists(item, min_size=1, max_size=3)))
    values = np.array(data.draw(st.lists(st.integers(-2, 9), min_size=len(items), max_size=len(items))))
    table = Table.of(grid, items, values)
    states = np.arange(len(table.worth))
    counts = table.fill(states)
    room = np.stack([states // sizes[1], states % sizes[1]], axis=1)
    assert (counts @ items <= room).all()
    assert (counts @ values == table.worth).all()
    assert table.worth[-1] == max(
        sum(n * v for n, v in zip(some, values.tolist(), strict=True))
        for some in itertools.product(range(7), repeat=len(items))
        if (np.array(some) @ items <= room[-1]).all()
    )


HOMES = [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("rows", "group", "says"),
    [
        (HOMES, group_of(GroupRule.AFFINITY, "host", [0, 1, 2]), "lives in 2 domains of host"),
        (HOMES, group_of(GroupRule.ANTI_AFFINITY, "host", [0, 1]), "two members share a domain of host"),
        (HOMES, group_of(GroupRule.FAULT_DOMAINS, "rack", [0, 3], [0, 1]), "two parts share a domain of rack"),
        (HOMES, group_of(GroupRule.FAULT_DOMAINS, "host", [0, 1, 2, 3], [0, 0, 1, 1]), None),
        ([[0], [0], [2], [3]], group_of(GroupRule.AFFINITY, "rack", [0, 3]), "node 0: "),
        ([[-1], [1], [2], [3]], group_of(GroupRule.AFFINITY, "rack", [0, 3]), "form 0 needs 1 nodes"),
    ],
)
def test_the_checker_finds_what_is_wrong(rows: list[list[int]], group: GroupOf, says: str | None) -> None:
    supply = supply_of([(4, 8, 0)] * 2, [(4, 8, 0)] * 2)
    batch = Batch(flavours=(flavour_of(4, 8),), flavour_of=np.zeros(4, dtype=np.int64), groups=(group,))
    found = broken_rules(supply, batch, Homes(form=np.zeros(4, np.int8), rows=np.array(rows, dtype=np.int32)))
    assert [text for text in found if says and says in text] == found
    assert bool(found) == bool(says)


@pytest.mark.parametrize(
    ("rows", "says"),
    [([[0, 1]], None), ([[0, 0]], "on one node"), ([[0, 2]], "on several hosts"), ([[2, 3]], "may not live on")],
)
def test_the_checker_knows_the_shape_of_a_guest(rows: npt.ArrayLike, says: str | None) -> None:
    supply = supply_of([(8, 8, 0)] * 2, [(8, 8, 0)] * 2)
    flavour = replace(flavour_of(4, 4, 2), allowed=np.array([True, False]))
    batch = Batch(flavours=(flavour,), flavour_of=np.zeros(1, dtype=np.int64))
    homes = Homes(form=np.zeros(1, np.int8), rows=np.array(rows, dtype=np.int32))
    found = broken_rules(supply, batch, homes)
    assert bool(found) == bool(says)
    assert not says or any(says in text for text in found)


def test_members_apart_choose_before_others() -> None:
    """Three slots on one host and one on another: the two members must not both get one of the three."""
    supply = supply_of([(6, 64, 0)], [(2, 64, 0)])
    apart = group_of(GroupRule.ANTI_AFFINITY, "host", [2, 3])
    batch = Batch(flavours=(flavour_of(2, 2),), flavour_of=np.zeros(4, dtype=np.int64), groups=(apart,))
    assert place(supply, batch).value == 4


def test_memory_that_is_counted_coarsely_is_not_overdrawn() -> None:
    """Odd amounts on large nodes: the steps of the grid are far larger than their common divisor."""
    odd = Share(vcpus=1, memory_kib=16 * GIB + 4)
    nodes = [[(64, 512, 16), (64, 512, 16)]] * 4
    kinds = (Flavour(forms=(Form(shares=(odd,)),)), flavour_of(2, 4, overhead_mib=7), flavour_of(2, 2, page_kib=HUGE))
    batch = Batch(flavours=kinds, flavour_of=np.repeat([0, 1, 2], [260, 300, 60]))
    answer = place(supply_of(*nodes), batch)
    assert broken_rules(supply_of(*nodes), batch, answer.homes) == []
    assert answer.value > 0.9 * answer.bound


def book_of(supply: Supply, batch: Batch) -> Left:
    return Left(supply, batch.flavours, ways_of(batch.flavours, supply.pages_kib), batch.demand())


def test_a_book_takes_no_more_than_there_is_and_no_more_than_are_asked_for() -> None:
    supply = supply_of([(5, 64, 0)], [(9, 3, 0)])
    batch = Batch(flavours=(flavour_of(2, 1),), flavour_of=np.zeros(4, dtype=np.int64))
    left = book_of(supply, batch)
    assert left.take(0, np.array([[0], [1]]), np.array([9, 9])) == 4
    assert left.amounts[0].tolist() == [1, 5]
    assert left.demand.tolist() == [0]


def test_a_member_whose_rules_leave_it_no_slot_lives_where_room_is() -> None:
    supply = supply_of([(6, 64, 0)], [(4, 64, 0)])
    apart = tuple(group_of(GroupRule.ANTI_AFFINITY, "host", members) for members in ([0, 1], [2, 3]))
    batch = Batch(flavours=(flavour_of(2, 2),), flavour_of=np.zeros(4, dtype=np.int64), groups=apart)
    left, homes = book_of(supply, batch), Homes.none(batch)
    left.take(0, np.array([[0], [1]]), np.array([3, 1]))
    Dealer(left, batch, homes, np.random.default_rng(0)).deal()
    assert broken_rules(supply, batch, homes) == []
    assert homes.placed().all()


def together(supply: Supply, homes: Homes, members: Ints) -> int:
    return len(np.unique(supply.domain_of_host("rack")[supply.host_of_row()[homes.rows[members, 0]]]))


def test_an_affinity_group_settles_as_a_whole_where_it_fits() -> None:
    supply = supply_of([(8, 64, 0)], [(4, 64, 0)], [(6, 64, 0)], [(6, 64, 0)], racks=[0, 0, 1, 1])
    group = group_of(GroupRule.AFFINITY, "rack", [0, 1])
    batch = Batch(flavours=(flavour_of(6, 6), flavour_of(4, 4)), flavour_of=np.array([0, 0, 1, 1, 1]), groups=(group,))
    answer = place(supply, batch)
    assert answer.value == 5
    assert together(supply, answer.homes, group.members) == 1
