"""The randomisation test of macro F1: laws, and what scikit-learn says of the difference."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from mien.evaluation.randomisation import MacroF1, macro_f1_pairs
from mien.evaluation.statistics import holm


def paired_macro_f1(a: np.ndarray, b: np.ndarray, targets: np.ndarray, *more: Any, **options: Any) -> MacroF1:
    (only,) = macro_f1_pairs([a, b], targets, *more, **options)
    return only


answers = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=7)


def macro(targets: np.ndarray, predicted: np.ndarray) -> float:
    return f1_score(targets, predicted, average="macro", labels=np.unique(targets), zero_division=0)


@settings(max_examples=30, deadline=None)
@given(answers)
def test_of_few_rows_all_ways_to_exchange_the_answers_are_counted(rows: list[tuple[int, int, int]]) -> None:
    a, b, targets = np.array(rows).T
    found = paired_macro_f1(a, b, targets, 3, resamples=20)
    observed = macro(targets, b) - macro(targets, a)
    assert found.difference.value == pytest.approx(observed)
    ways = [np.array(way) for way in product((False, True), repeat=len(rows))]
    changes = [macro(targets, np.where(way, a, b)) - macro(targets, np.where(way, b, a)) for way in ways]
    assert found.p == pytest.approx(np.mean([abs(change) >= abs(observed) - 1e-9 for change in changes]))


@settings(max_examples=30, deadline=None)
@given(answers)
def test_which_arm_is_named_first_changes_the_sign_alone(rows: list[tuple[int, int, int]]) -> None:
    a, b, targets = np.array(rows).T
    there, back = (paired_macro_f1(*arms, targets, 3, resamples=20) for arms in ((a, b), (b, a)))
    assert there.difference.value == pytest.approx(-back.difference.value) and there.p == pytest.approx(back.p)
    assert paired_macro_f1(a, a, targets, 3, resamples=20).p == 1


def test_equal_arms_are_seldom_told_apart_and_unequal_ones_are() -> None:
    generator, told = np.random.default_rng(1), 0
    targets = generator.choice(4, 200, p=[0.6, 0.2, 0.15, 0.05])
    for _ in range(60):
        a, b = (np.where(generator.random(200) < 0.6, targets, generator.integers(0, 4, 200)) for _ in range(2))
        told += paired_macro_f1(a, b, targets, 4, resamples=20).p < 0.05
    assert told <= 8
    better = np.where(generator.random(200) < 0.9, targets, generator.integers(0, 4, 200))
    assert paired_macro_f1(a, better, targets, 4).p < 0.001


def test_the_answers_about_one_person_are_exchanged_together() -> None:
    targets = np.tile([0, 1], 40)
    worse = np.where(np.arange(80) < 40, 0, targets)
    people = np.repeat(["p", "q"], 40).tolist()
    assert paired_macro_f1(worse, targets, targets, 2).p < 0.001
    assert paired_macro_f1(worse, targets, targets, 2, people).p == 1


def test_among_several_arms_each_pair_has_the_test_of_its_own_and_p_is_corrected() -> None:
    generator = np.random.default_rng(2)
    targets = generator.integers(0, 3, 150)
    arms = [np.where(generator.random(150) < share, targets, 0) for share in (0.5, 0.6, 0.8)]
    found = macro_f1_pairs(arms, targets, 3)
    alone = [paired_macro_f1(arms[a], arms[b], targets, 3) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert [(each.difference, each.p) for each in found] == [(each.difference, each.p) for each in alone]
    assert [each.adjusted for each in found] == holm([each.p for each in alone])
