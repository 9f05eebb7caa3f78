"""Intervals and tests: laws, and agreement with SciPy."""

import math
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mien.evaluation import pairs, statistics
from mien.evaluation.metrics import limits

counts = st.integers(0, 400)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(counts, counts)
def test_mcnemar_is_symmetric_and_one_without_any_difference(a: int, b: int) -> None:
    assert pairs.mcnemar(a, b) == pytest.approx(pairs.mcnemar(b, a))
    assert 0 <= pairs.mcnemar(a, b) <= 1
    assert pairs.mcnemar(a, a) == pytest.approx(1)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_twice_the_smaller_binomial_tail(a: int, b: int) -> None:
    tail = stats.binom.cdf(min(a, b), a + b, 0.5) if a + b else 0.5
    assert pairs.mcnemar(a, b) == pytest.approx(min(1, 2 * tail))


@given(p_values)
def test_holm_is_between_the_plain_and_the_bonferroni_values_and_keeps_the_order(p: list[float]) -> None:
    adjusted = np.array(statistics.holm(p))
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()


@given(p_values, st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], level: float) -> None:
    rejected = set()
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - step) > level:
            break
        rejected.add(int(index))
    assert {i for i, q in enumerate(statistics.holm(p)) if q <= level} == rejected


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case: tuple[int, int]) -> None:
    ours, theirs = statistics.wilson(*case), stats.binomtest(*case).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_a_proportion_of_nothing_is_unknown() -> None:
    assert statistics.wilson(0, 0).as_dict() == {"value": None, "low": None, "high": None}


def test_spread_over_seeds_agrees_with_scipy() -> None:
    values = [0.701, 0.694, 0.711, 0.699, 0.703]
    spread = statistics.over_seeds(values)
    theirs = stats.ttest_1samp(values, 0).confidence_interval()
    assert (spread.mean.low, spread.mean.high) == pytest.approx((theirs.low, theirs.high))
    assert spread.deviation == pytest.approx(np.std(values, ddof=1))


def test_one_seed_has_no_interval() -> None:
    spread = statistics.over_seeds([0.7])
    assert spread.mean.value == 0.7
    assert math.isnan(spread.deviation)
    assert math.isnan(spread.mean.low)


def test_seeds_of_one_fold_bring_no_new_pictures() -> None:
    folds, seeds = [0.75, 0.78, 0.81], [0.76, 0.78, 0.81]
    both = statistics.over_seeds([*folds, *seeds], 0.5, folds=[0, 1, 2, 0, 1, 2])
    alone = statistics.over_seeds([(a + b) / 2 for a, b in zip(folds, seeds, strict=True)], 0.5)
    assert (both.mean.low, both.mean.high) == pytest.approx((alone.mean.low, alone.mean.high))
    assert both.runs == 6 and both.deviation == pytest.approx(np.std([*folds, *seeds], ddof=1))
    seed_alone = statistics.over_seeds(folds, folds=[0, 0, 0])
    assert seed_alone == statistics.over_seeds(folds)


def test_the_interval_over_seeds_ends_where_the_quantity_does() -> None:
    values = [0.99, 0.95, 1.0]
    share, free = statistics.over_seeds(values, within=(0, 1)).mean, statistics.over_seeds(values).mean
    assert free.high > 1
    assert (share.low, share.high) == (free.low, 1)
    assert statistics.over_seeds([2.0, 0.1], within=limits("nll")).mean.low == 0
    assert statistics.over_seeds([2.0, 0.1], within=limits("nll")).mean.high > 2


@given(st.integers(0, 2**31))
def test_resampled_sums_are_sums_over_as_many_rows(seed: int) -> None:
    columns = np.column_stack([np.ones(40), np.arange(40)])
    sums = statistics.resampled_sums(columns, 20, seed)
    assert (sums[:, 0] == 40).all()
    assert (sums == statistics.resampled_sums(columns, 20, seed)).all()
    assert ((sums[:, 1] >= 0) & (sums[:, 1] <= 40 * 39)).all()


def test_the_bootstrap_interval_is_close_to_the_theory_for_a_mean() -> None:
    values = np.random.default_rng(1).normal(size=900)
    sums = statistics.resampled_sums(np.column_stack([values, np.ones(900)]), 4000)
    found = statistics.interval(values.mean(), sums[:, 0] / sums[:, 1], 900)
    half = 1.96 * values.std() / 30
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.006)


def test_groups_of_identical_rows_widen_the_interval_as_their_size_says() -> None:
    right = np.repeat(np.random.default_rng(2).random(100) < 0.7, 9).astype(float)
    columns = np.column_stack([right, np.ones(900)])
    alone, together = (
        statistics.resampled_sums(columns, 3000, groups=groups)[:, 0].std()
        for groups in (None, np.repeat(np.arange(100), 9).tolist())
    )
    assert together / alone == pytest.approx(3, rel=0.1)


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    columns = np.random.default_rng(3).random((30, 2))
    assert np.allclose(
        statistics.resampled_sums(columns, 50, groups=[None] * 30), statistics.resampled_sums(columns, 50)
    )


def test_the_paired_interval_is_narrower_than_two_separate_ones_and_signed() -> None:
    generator = np.random.default_rng(4)
    a = generator.random(2000) < 0.7
    b = np.where(generator.random(2000) < 0.05, True, a)
    difference = pairs.paired_difference(a, b)
    assert difference.low > 0
    assert difference.value == pytest.approx(b.mean() - a.mean())
    assert difference.high - difference.low < 2 * 1.96 * math.sqrt(2 * 0.7 * 0.3 / 2000)
    assert pairs.paired_difference(b, a).value == pytest.approx(-difference.value)


def best(right: np.ndarray, groups: list[str] | None = None) -> int | None:
    return pairs.distinguishable_best(right, pairs.all_pairs(right, groups))


def test_the_best_is_named_only_when_it_is_distinguishable() -> None:
    generator = np.random.default_rng(5)
    weak, strong = generator.random(1000) < 0.6, generator.random(1000) < 0.8
    nearly = strong ^ (generator.random(1000) < 0.004)
    assert best(np.stack([weak, strong])) == 1
    assert best(np.stack([weak, strong, nearly])) is None
    assert best(strong[None]) is None


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_sign_flips_counts_the_sums_of_all_signs(changes: list[int]) -> None:
    sums = np.array(list(product((-1, 1), repeat=len(changes)))) @ np.array(changes)
    assert pairs.sign_flips(changes) == pytest.approx((np.abs(sums) >= abs(sum(changes))).mean())
    assert pairs.sign_flips([3 * change for change in changes]) == pairs.sign_flips(changes)


@given(st.integers(0, 60), st.integers(0, 60))
def test_sign_flips_of_single_answers_is_mcnemars_test(a: int, b: int) -> None:
    assert pairs.sign_flips([-1] * a + [1] * b) == pytest.approx(pairs.mcnemar(a, b))


def test_answers_about_one_person_are_no_evidence_each_of_its_own() -> None:
    worse, better = np.repeat([0, 0, 0, 1], 30).astype(bool), np.repeat([1, 1, 0, 0], 30).astype(bool)
    people = np.repeat(["a", "b", "c", "d"], 30).tolist()
    assert pairs.all_pairs(np.stack([worse, better]))[0].p < 0.01
    assert pairs.all_pairs(np.stack([worse, better]), people)[0].p == 1
    clear = np.ones(120, bool)
    assert best(np.stack([~clear, clear])) == 1
    assert best(np.stack([~clear, clear]), people) is None


@pytest.mark.parametrize("people", [3, 4, 12])
@pytest.mark.parametrize("truth", [0.7, 0.95])
def test_intervals_over_few_people_hold_the_truth_about_as_often_as_they_say(people: int, truth: float) -> None:
    generator = np.random.default_rng(6)
    names, held = np.repeat(np.arange(people), 20).tolist(), 0
    for _ in range(300):
        share = generator.beta(10 * truth, 10 * (1 - truth), people)
        right = generator.random(people * 20) < np.repeat(share, 20)
        found = statistics.proportion(right, names)
        held += found.low <= truth <= found.high
    assert held / 300 >= 0.9


def test_one_person_gives_no_interval_and_rows_by_themselves_wilsons() -> None:
    right = np.array([True, True, False])
    assert math.isnan(statistics.proportion(right, groups=["a"] * 3).low)
    assert statistics.proportion(right) == statistics.wilson(2, 3)


@pytest.mark.parametrize("count", [20, 2000])
def test_arms_without_a_difference_in_few_rows_may_still_differ(count: int) -> None:
    right, unseen = np.ones(count, bool), statistics.wilson(0, count).high
    same = pairs.paired_difference(right, right)
    assert (same.value, same.low, same.high) == pytest.approx((0, -unseen, unseen))
    opposite = pairs.paired_difference(~right, right)
    assert (opposite.value, opposite.low, opposite.high) == pytest.approx((1, 1 - 2 * unseen, 1))
    assert statistics.unpaired_difference(right, right).high == pytest.approx(unseen)


def test_intervals_of_many_pairs_hold_together() -> None:
    generator, missed = np.random.default_rng(8), {"alone": 0, "together": 0}
    for _ in range(60):
        right = generator.random((5, 300)) < np.repeat([[0.7]], 300, axis=1)
        found = pairs.all_pairs(right)
        together = pairs.paired_differences(right, found)
        alone = [pairs.paired_difference(right[pair.a], right[pair.b]) for pair in found]
        assert all(wide.low <= one.low and one.high <= wide.high for wide, one in zip(together, alone, strict=True))
        for name, each_of in (("alone", alone), ("together", together)):
            missed[name] += any(not each.low <= 0 <= each.high for each in each_of)
    assert missed["together"] <= 6 < missed["alone"], "of ten intervals of equal arms some would miss 0 by chance"


def test_a_pair_of_arms_has_the_interval_of_its_own() -> None:
    right = np.random.default_rng(9).random((2, 200)) < 0.7
    (only,) = pairs.paired_differences(right, pairs.all_pairs(right))
    assert astuple(only) == pytest.approx(astuple(pairs.paired_difference(*right)))


def test_folds_that_share_training_rows_have_a_wider_interval_than_seeds() -> None:
    values = [0.701, 0.694, 0.711, 0.699, 0.703]
    seeds, folds = statistics.over_seeds(values), statistics.over_seeds(values, 1 / 4)
    assert (folds.mean.high - folds.mean.low) / (seeds.mean.high - seeds.mean.low) == pytest.approx(1.5)
    assert folds.deviation == seeds.deviation


def test_every_two_arms_are_tested_with_the_counts_of_either_side() -> None:
    right = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]], bool)
    found = {(pair.a, pair.b): (pair.only_a, pair.only_b) for pair in pairs.all_pairs(right)}
    assert found == {(0, 1): (1, 1), (0, 2): (0, 2), (1, 2): (0, 2)}


@given(st.permutations(range(12)), st.booleans())
def test_what_rows_of_groups_are_worth_does_not_depend_on_their_order(order: list[int], right: bool) -> None:
    groups = ["a"] * 7 + ["b"] * 3 + ["c", None]
    answers = np.full(12, right)
    there = statistics.independent(answers, groups)
    assert statistics.independent(answers, [groups[place] for place in order]) == there


@given(st.lists(st.tuples(st.integers(1, 120), st.floats(0, 1)), min_size=2, max_size=6), st.data())
def test_one_answer_more_or_less_changes_an_interval_little(
    people: list[tuple[int, float]], data: st.DataObject
) -> None:
    right = np.concatenate([np.arange(size) < round(share * size) for size, share in people])
    groups = np.repeat(np.arange(len(people)), [size for size, _ in people]).tolist()
    other = right.copy()
    other[data.draw(st.integers(0, len(right) - 1))] ^= True
    widths = [found.high - found.low for found in (statistics.proportion(each, groups) for each in (right, other))]
    assert max(widths) < 3 * min(widths)


def test_people_who_all_have_the_same_share_have_the_interval_of_people_who_nearly_have() -> None:
    right, groups = np.tile(np.arange(20) < 18, 3), np.repeat(np.arange(3), 20).tolist()
    alike = statistics.proportion(right, groups)
    right[18] = True
    nearly = statistics.proportion(right, groups)
    assert nearly.high - nearly.low == pytest.approx(alike.high - alike.low, rel=0.1)


def test_arms_that_answer_alike_have_an_interval_that_holds_with_the_others_too() -> None:
    generator = np.random.default_rng(3)
    right = generator.random((2, 100)) < 0.7
    alone = pairs.paired_differences(right[[0, 0]], pairs.all_pairs(right[[0, 0]]))[0]
    among = pairs.paired_differences(right[[0, 0, 1]], pairs.all_pairs(right[[0, 0, 1]]))[0]
    assert among.low < alone.low < 0 < alone.high < among.high
