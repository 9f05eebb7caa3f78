"""Calibration: temperature, reliability, and the promise of an `uncertain` answer."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.evaluation import calibration
from mien.evaluation.metrics import evaluate
from mien.labels import EXPRESSIONS

Case = tuple[NDArray[np.float64], NDArray[np.int64]]


def calibrated(rows: int, seed: int, classes: int = 7) -> Case:
    """Logits whose softmax is the true distribution of the targets."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (rows, classes))
    cumulated = calibration.softmax(logits).cumsum(axis=1)
    return logits, np.minimum((cumulated < generator.random((rows, 1))).sum(axis=1), classes - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_the_logits_is_found_again(temperature: float) -> None:
    logits, targets = calibrated(6000, 0)
    assert calibration.fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.06)


def test_temperature_works_from_probabilities_and_never_changes_an_answer() -> None:
    logits, targets = calibrated(3000, 1)
    sure = calibration.softmax(logits * 3)
    temperature = calibration.fit_temperature(calibration.logits(sure), targets)
    assert temperature == pytest.approx(calibration.fit_temperature(logits * 3, targets), rel=1e-3)
    mended = calibration.softmax(calibration.logits(sure), temperature)
    assert (mended.argmax(axis=1) == logits.argmax(axis=1)).all()
    before, after = (
        evaluate(p, targets, EXPRESSIONS[:7], bootstrap=0)["metrics"]["ece"]["value"] for p in (sure, mended)
    )
    assert after < 0.03 < before


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_reliability_bins_hold_every_row_once_and_confidences_in_their_range(rows: int, seed: int) -> None:
    logits, targets = calibrated(rows, seed)
    bins = calibration.reliability(calibration.softmax(logits), targets)
    assert sum(each.count for each in bins) == rows
    for each in bins:
        assert (each.confidence is None) == (each.count == 0)
        if each.confidence is not None:
            assert each.low < each.confidence <= each.high + 1e-12


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin() -> None:
    assert calibration.bin_of(np.array([0.0, 1 / 15, 0.2, 1.0])).tolist() == [0, 0, 2, 14]


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_the_selective_curve_ends_with_every_row_answered(rows: int, seed: int) -> None:
    logits, targets = calibrated(rows, seed)
    p = calibration.softmax(logits)
    curve = calibration.selective_curve(p, targets)
    assert curve[-1].coverage == 1
    assert curve[-1].accuracy == pytest.approx((p.argmax(axis=1) == targets).mean())
    assert all(a.coverage < b.coverage and a.threshold > b.threshold for a, b in pairwise(curve))
    for point in curve:
        answered = p.max(axis=1) >= point.threshold
        assert point.coverage == pytest.approx(answered.mean())


def test_the_promised_accuracy_holds_on_new_rows() -> None:
    kept = 0
    for seed in range(15):
        logits, targets = calibrated(1500, seed)
        chosen = calibration.uncertain_below(calibration.softmax(logits), targets, accuracy=0.9)
        assert chosen is not None
        assert chosen.accuracy >= (chosen.bound or 1) >= 0.9
        fresh, truth = calibrated(8000, 1000 + seed)
        p = calibration.softmax(fresh)
        answered = p.max(axis=1) >= chosen.threshold
        kept += (p.argmax(axis=1) == truth)[answered].mean() >= 0.9
    assert kept >= 14


def test_rows_of_few_people_promise_no_more_than_the_people_do() -> None:
    rng, promised = np.random.default_rng(0), 0
    people = [f"S{person}" for person in range(20) for _ in range(30)]
    for _ in range(100):
        # Some people are read well and some are not: 90% of all, and no more than that is asked.
        right = rng.random(600) < np.repeat(rng.beta(3.6, 0.4, 20), 30)
        probabilities = np.tile([0.6, 0.4], (600, 1)) + rng.random((600, 1)) * [0.01, -0.01]
        promised += calibration.uncertain_below(probabilities, (~right).astype(int), 0.9, groups=people) is not None
    assert promised <= 5
    none, one = np.zeros(600, int), np.eye(1, 600, dtype=int)[0]
    bounds = [calibration.uncertain_below(probabilities, wrong, 0.9, groups=people) for wrong in (none, one)]
    assert bounds[0] and bounds[1] and (bounds[0].bound or 0) >= (bounds[1].bound or 0), "no error promises no less"


def test_a_promise_that_no_threshold_keeps_is_not_made() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(7), 300)
    targets = np.random.default_rng(1).integers(0, 7, 300)
    assert calibration.uncertain_below(p, targets, accuracy=0.95) is None


def test_rows_of_equal_confidence_are_answered_together() -> None:
    p = np.array([[0.8, 0.2]] * 6 + [[0.6, 0.4]] * 4)
    targets = np.array([0] * 6 + [1] * 4)
    assert [(round(s.threshold, 2), s.coverage, s.accuracy) for s in calibration.selective_curve(p, targets)] == [
        (0.8, 0.6, 1.0),
        (0.6, 1.0, 0.6),
    ]


def test_the_calibration_error_of_answers_that_say_what_is_so_may_be_nothing() -> None:
    held, shown = 0, []
    for seed in range(40):
        values, targets = calibrated(300, seed)
        found = evaluate(calibration.softmax(values), targets, EXPRESSIONS[:7], bootstrap=200, seed=seed)
        error, perfect = found["metrics"]["ece"], found["calibration"]["perfect"]
        held += error["low"] == 0
        shown.append((error["value"], perfect["mean"]))
        assert error["low"] <= error["value"] <= error["high"] and perfect["mean"] < perfect["most"]
    assert held >= 34, "one in twenty begins above 0"
    observed, expected = np.mean(shown, axis=0)
    assert observed == pytest.approx(expected, rel=0.15), "this much is what chance adds"


def test_a_model_that_is_far_too_sure_is_not_called_calibrated() -> None:
    values, targets = calibrated(1000, 1)
    found = evaluate(calibration.softmax(values, 0.3), targets, EXPRESSIONS[:7], bootstrap=200)
    endless, many = calibrated(200_000, 2)
    truth = evaluate(calibration.softmax(endless, 0.3), many, EXPRESSIONS[:7], bootstrap=0)["metrics"]["ece"]["value"]
    assert 0 < found["metrics"]["ece"]["low"] <= truth <= found["metrics"]["ece"]["high"]


def test_what_training_shows_too_takes_no_part_in_the_calibration_unless_hardly_any_other_is_left() -> None:
    values, targets = calibrated(400, 3)
    new = np.arange(400) < 300
    spoilt = values.copy()
    spoilt[~new] = np.eye(7)[targets[~new]] * 30  # answers known by heart, as sure as can be
    found = calibration.calibrate(spoilt, targets, new, 0.7)
    alone = calibration.calibrate(values[:300], targets[:300], np.ones(300, bool), 0.7)
    assert (found.temperature, found.uncertain_below, found.rows) == (alone.temperature, alone.uncertain_below, 300)
    assert calibration.calibrate(spoilt, targets, np.arange(400) < 40, 0.7).rows == 400
    assert calibration.calibrate(values[:60], targets[:60], np.arange(60) < 30, 0.7).rows == 30
