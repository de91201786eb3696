"""The statistics: known values, symmetry, and intervals that hold what they promise."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from benchmarks.report.paired import Evidence, difference, holm
from benchmarks.report.student import quantile, two_sided_p

FIGURES = st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("confidence", "degrees", "t"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 4, 2.7764),
        (0.95, 9, 2.2622),
        (0.95, 30, 2.0423),
        (0.99, 5, 4.0321),
    ],
)
def test_students_t_is_as_printed(confidence: float, degrees: int, t: float) -> None:
    """Abramowitz and Stegun, table 26.10; and the probability is the inverse."""
    assert t == pytest.approx(quantile(confidence, degrees), abs=5e-5)
    assert 1 - confidence == pytest.approx(two_sided_p(t, degrees), abs=1e-5)


def test_an_interval_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1/√3, 4.3027 of them to each side."""
    found = difference({1: 11.0, 2: 22.0, 3: 33.0}, {1: 10.0, 2: 20.0, 3: 30.0})
    assert found is not None
    assert (2.0, Evidence.INTERVAL, 0) == (found.mean, found.evidence, found.sign)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert found.p == pytest.approx(0.0742, abs=1e-4)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    """Of three seeds, drawn 4,000 times: a true difference of 1 is inside 95 % of them (± 4 standard errors)."""
    chance = random.Random(5)  # noqa: S311 (draws for a test)
    inside = 0
    for _ in range(4000):
        base = {seed: chance.gauss(10, 3) for seed in (1, 2, 3)}
        found = difference({seed: value + chance.gauss(1, 0.5) for seed, value in base.items()}, base)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 1 <= found.high
    assert 0.95 == pytest.approx(inside / 4000, abs=4 * (0.95 * 0.05 / 4000) ** 0.5)


@given(FIGURES)
def test_the_interval_holds_the_mean_and_turns_with_the_base(pairs: list[tuple[int, int]]) -> None:
    """Whoever is the base, the claim is the same one, with the other sign."""
    ours = {seed: float(a) for seed, (a, _) in enumerate(pairs)}
    theirs = {seed: float(b) for seed, (_, b) in enumerate(pairs)}
    one, other = difference(ours, theirs), difference(theirs, ours)
    assert one is not None
    assert other is not None
    assert (one.mean, one.sign, one.evidence) == pytest.approx((-other.mean, -other.sign, other.evidence))
    assert one.p == pytest.approx(other.p)
    if one.low is not None and one.high is not None:
        assert one.low <= one.mean <= one.high
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))  # type: ignore[operator]


@given(FIGURES)
def test_nothing_is_claimed_of_equal_rows(pairs: list[tuple[int, int]]) -> None:
    values = {seed: float(a) for seed, (a, _) in enumerate(pairs)}
    found = difference(values, values)
    assert found is not None
    assert (0.0, 0) == (found.mean, found.sign)
    assert found.is_none is (len(values) > 1)


def test_one_seed_has_no_interval() -> None:
    found = difference({7: 100.0}, {7: 1.0})
    assert found is not None
    assert (99.0, None, None, 0, Evidence.ONE_SEED) == (found.mean, found.low, found.high, found.sign, found.evidence)


def test_only_common_seeds_count() -> None:
    """Seed 1 and seed 4 have nobody to be paired with; without any pair there is no difference."""
    found = difference({1: 5.0, 2: 5.0, 3: 6.0}, {2: 4.0, 3: 4.0, 4: 0.0})
    assert found is not None
    assert ((2, 3), 1.5) == (found.seeds, found.mean)
    assert difference({1: 5.0}, {2: 5.0}) is None


def test_differences_that_agree_by_chance_claim_nothing() -> None:
    """2 more with every seed gives no spread to reckon with; where the seed changes nothing it is exact."""
    ours, theirs = {1: 5.0, 2: 7.0}, {1: 3.0, 2: 5.0}
    by_chance = difference(ours, theirs)
    assert by_chance is not None
    assert (Evidence.NO_SPREAD, 0) == (by_chance.evidence, by_chance.sign)
    exact = difference({1: 5.0, 2: 5.0}, {1: 3.0, 2: 3.0}, repeat=True)
    assert exact is not None
    assert (Evidence.EXACT, 1, 2.0, 2.0) == (exact.evidence, exact.sign, exact.low, exact.high)


@pytest.mark.parametrize(("seeds", "expected"), [((1, 2), Evidence.NO_SPREAD), ((1, 2, 3), Evidence.EXACT)])
def test_figures_that_do_not_change_are_exact_from_three_seeds_on(seeds: tuple[int, ...], expected: Evidence) -> None:
    """A 99th percentile of 10 against 21 each time."""
    found = difference(dict.fromkeys(seeds, 10.0), dict.fromkeys(seeds, 21.0))
    assert found is not None
    assert expected is found.evidence


def test_rounding_is_no_evidence() -> None:
    """Three differences of 0.3 in floats spread by 1e-16; an interval of that width would claim all."""
    found = difference({1: 0.1 + 0.2, 2: 0.3, 3: 1.3}, {1: 0.0, 2: 0.0, 3: 1.0})
    assert found is not None
    assert found.evidence is Evidence.NO_SPREAD


def test_many_comparisons_by_hand() -> None:
    """Holm: the smallest of four times 4, the next times 3, …; none smaller than the one before it, none over 1."""
    assert [0.03, 0.06, 0.06, 0.02] == pytest.approx(holm([0.01, 0.03, 0.04, 0.005]))
    assert [1.0, 1.0] == holm([0.9, 0.8])
    assert [] == holm([])
