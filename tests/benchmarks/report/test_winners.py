"""Who is said to win, and who is not."""

from __future__ import annotations

import pytest

from benchmarks.report.against_base import Judgement, compared
from benchmarks.report.paired import Evidence
from benchmarks.report.results import MixedDigestsError, NoBaseError, results_of
from benchmarks.report.verdict import Answer, verdicts
from benchmarks.report.winners import Standing, Winner, winner
from probe.errors import BadInputError
from tests.benchmarks.report.made_up import measured, row, rows_of


def won(values: dict[str, list[float]], metric: str = "placed") -> Winner:
    found = winner(results_of(rows_of(values, metric)), "lab", metric)
    assert found is not None
    return found


def test_a_winner_with_its_margin() -> None:
    """10 more than the next one, give or take little."""
    found = won({"a": [30, 31, 33], "b": [20, 21, 22], "c": [1, 2, 3]})
    assert (Standing.WINS, ("a",), "b", ()) == (found.standing, found.first, found.runner_up, found.unbeaten)
    assert found.margin is not None
    assert 31 / 3 == pytest.approx(found.margin.mean)
    assert ["wins", "", ""] == [found.mark(policy) for policy in "abc"]


def test_less_is_better_where_the_metric_says_so() -> None:
    assert ("c",) == won({"a": [30, 31, 33], "c": [1, 2, 3]}, "refused").first


def test_an_interval_with_zero_in_it_claims_no_winner() -> None:
    """a is ahead by the mean; but with one seed b was."""
    found = won({"a": [30, 20, 33], "b": [20, 21, 22], "c": [1, 2, 3]})
    assert (Standing.LEADS, ("a",), ("b",)) == (found.standing, found.first, found.unbeaten)
    assert ["leads", "unbeaten", ""] == [found.mark(policy) for policy in "abc"]


def test_the_winner_must_beat_everybody_not_the_second_only() -> None:
    """c is worse than b by its mean, but so uncertain that it may be as good as a."""
    found = won({"a": [30, 31, 33], "b": [29, 30, 32.1], "c": [10, 55, 10]})
    assert (Standing.LEADS, "b", ("c",)) == (found.standing, found.runner_up, found.unbeaten)


def test_equal_rows_have_no_winner() -> None:
    found = won({"a": [5, 6], "b": [5, 6]})
    assert (Standing.TIES, ("a", "b"), None) == (found.standing, found.first, found.runner_up)


def test_one_seed_claims_no_winner() -> None:
    found = won({"a": [9], "b": [1], "c": [9]})
    assert (Standing.TIES, ("a", "c")) == (found.standing, found.first)
    assert Standing.LEADS is won({"a": [9], "b": [1]}).standing


def test_nobody_wins_by_what_only_tells_something() -> None:
    """Or alone."""
    assert winner(results_of(rows_of({"a": [5, 6], "b": [7, 8]}, "wall_s")), "lab", "wall_s") is None
    assert winner(results_of(rows_of({"a": [5, 6]})), "lab", "placed") is None


def test_a_recorded_batch_is_exact() -> None:
    """Where every row repeats with every seed, two seeds are proof; figures that agree by chance are none."""
    repeated = won({"a": [5, 5], "b": [3, 3]})
    assert repeated.margin is not None
    assert (Standing.WINS, Evidence.EXACT) == (repeated.standing, repeated.margin.evidence)
    rows = [
        row(policy, seed, metrics={"placed": placed, "mean_nodes": seed})
        for policy, placed in (("a", 5), ("b", 3))
        for seed in (1, 2)
    ]
    by_chance = winner(results_of(rows), "lab", "placed")
    assert by_chance is not None
    assert by_chance.standing is Standing.LEADS


def test_seeds_that_one_lacks_are_left_out_and_said() -> None:
    results = results_of([*rows_of({"a": [5, 6, 99], "b": [1, 2]})])
    assert {3: ("b",)} == results.left_out("lab")
    assert 5.5 == results.mean("lab", "a", "placed")
    (one,) = compared(results, "b", ["placed"])
    assert ((1, 2), (3,)) == (one.difference.seeds, one.left_out)


def test_rows_of_two_digests_are_never_compared() -> None:
    """The error names the scenario and says what to do."""
    with pytest.raises(MixedDigestsError, match=r"lab: .*d1.*d2(.|\n)*--results"):
        results_of([row("a", digest="d1"), row("b", digest="d2")])


def test_a_row_that_was_measured_twice_is_one() -> None:
    results = results_of([row("a", metrics={"placed": 1}), row("a", metrics={"placed": 2})])
    assert 2 == results.mean("lab", "a", "placed")


def test_options_make_another_contender() -> None:
    """What all rows share is no part of a name."""
    both = {"sample": "10"}
    rows = [row("a", options=both), row("a", options={**both, "rebalance": "1h"}), row("unpinned", options=both)]
    results = results_of(rows)
    assert ("a", "a (rebalance=1h)", "unpinned") == results.contenders
    assert (("sample", "10"),) == results.shared


def test_the_base_is_found_by_its_policy_or_not_at_all() -> None:
    results = results_of([row("a"), row("unpinned", options={"rebalance": "1h"})])
    assert "unpinned (rebalance=1h)" == results.base("unpinned")
    with pytest.raises(NoBaseError, match=r"'numad'(.|\n)*--base"):
        results.base("numad")
    with pytest.raises(BadInputError, match="bench run"):
        results_of([])


def test_figures_of_a_later_version_are_passed_over() -> None:
    results = results_of([row("a", metrics={"placed": 1, "elegance": 9})])
    assert (("elegance",), ("placed",)) == (results.unknown, results.metrics)


def test_judgements_against_the_base() -> None:
    """Better, worse, the same, not shown; and swapping the base turns them round."""
    rows = rows_of({"base": [10, 11, 12], "up": [20, 21, 22.5], "down": [1, 2, 3.5], "same": [10, 11, 12]})
    rows += rows_of({"wild": [1, 30, 12]})
    judged = {one.policy: one.judgement for one in compared(results_of(rows), "base", ["placed"])}
    assert {
        "up": Judgement.BETTER,
        "down": Judgement.WORSE,
        "same": Judgement.SAME,
        "wild": Judgement.NOT_SHOWN,
    } == judged
    turned = {one.policy: one.judgement for one in compared(results_of(rows), "up", ["placed"])}
    assert Judgement.WORSE is turned["base"]


def test_among_many_comparisons_a_weak_claim_does_not_hold() -> None:
    """By itself p is 0.02; among ten comparisons five per cent for all of them together ask for less."""
    weak, strong = {"weak": [2.0, 2.6, 3.4]}, {"strong": [9.0, 9.1, 9.2]}
    alone = compared(results_of(rows_of({"base": [0.0, 0.1, 0.0], **weak})), "base", ["placed"])
    assert [(Judgement.BETTER, True)] == [(one.judgement, one.holds) for one in alone]
    others = {f"other {i}": [0.0, 0.2, float(i)] for i in range(8)}
    among = compared(results_of(rows_of({"base": [0.0, 0.1, 0.0], **weak, **strong, **others})), "base", ["placed"])
    held = {one.policy: (one.judgement, one.holds) for one in among}
    assert ((Judgement.BETTER, False), (Judgement.BETTER, True)) == (held["weak"], held["strong"])


def answer_of(placed: list[float], local: list[float]) -> Answer:
    """Of a policy beside a base that places 50 of 100 guests, half of their bytes local."""
    rows = [
        row(policy, seed, metrics={"placed": p, "refused": 100 - p, "local_ratio": ratio})
        for policy, of_seeds in (
            ("unpinned", zip([50, 51, 50], [0.5, 0.52, 0.5], strict=True)),
            ("p", zip(placed, local, strict=True)),
        )
        for seed, (p, ratio) in enumerate(of_seeds, 1)
    ]
    (verdict,) = verdicts(results_of(rows), "unpinned")
    assert {"lab": verdict.answer} == verdict.by_scenario
    return verdict.answer


@pytest.mark.parametrize(
    ("placed", "local", "expected"),
    [
        ([50, 51, 50], [0.9, 0.95, 0.93], Answer.YES),
        ([70, 72, 70.5], [0.5, 0.52, 0.5], Answer.YES),
        ([30, 32, 30.5], [0.9, 0.95, 0.93], Answer.MIXED),
        ([30, 32, 30.5], [0.5, 0.52, 0.5], Answer.NO),
        ([50, 51, 50], [0.5, 0.52, 0.5], Answer.NO),
        ([50, 51, 50], [0.1, 0.99, 0.6], Answer.NOT_SHOWN),
        ([49, 55, 50], [0.9, 0.95, 0.93], Answer.NOT_SHOWN),
        ([50.1, 51.2, 50.1], [0.49, 0.53, 0.5], Answer.NOT_SHOWN),
    ],
)
def test_better_than_unpinned(placed: list[float], local: list[float], expected: Answer) -> None:
    """Yes, no, both, or not shown. Who is the same in all is not better; who may be two points worse in one neither."""
    assert expected is answer_of(placed, local)


def test_the_verdict_over_all_scenarios_weighs_each_the_same() -> None:
    """Ten guests here count as much as two hundred there."""
    rows = measured(scenarios=("lab",)) + [
        row(policy, seed, "tiny", metrics={"placed": placed, "refused": 10 - placed, "local_ratio": 0.5})
        for policy, placed in (("unpinned", 10), ("best-fit", 10), ("solver", 0))
        for seed in (1, 2, 3)
    ]
    found = {one.policy: one for one in verdicts(results_of(rows), "unpinned")}
    share = found["solver"].overall[0]
    assert share is not None
    assert -0.55 < share.mean < -0.4
    assert Answer.MIXED is found["solver"].answer
    assert Answer.NO is found["solver"].by_scenario["tiny"]
