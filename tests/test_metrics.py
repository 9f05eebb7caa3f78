"""Metrics: agreement with scikit-learn, and the conventions where it leaves a choice."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as theirs

from mien.errors import DataError
from mien.evaluation.metrics import METRICS, evaluate
from mien.evaluation.statistics import wilson
from mien.labels import EXPRESSIONS

Case = tuple[NDArray[np.float64], NDArray[np.int64]]


def case(rows: int, classes: int, seed: int) -> Case:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes) * 0.4, rows)
    return probabilities, np.array([generator.choice(classes, p=row) for row in probabilities])


cases = st.builds(case, st.integers(1, 60), st.integers(2, 8), st.integers(0, 2**32 - 1))


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: entry["value"] for name, entry in result["metrics"].items()}


@given(cases)
def test_figures_agree_with_scikit_learn(drawn: Case) -> None:
    p, y = drawn
    classes = p.shape[1]
    predicted, present = p.argmax(axis=1), np.unique(y)
    ours = values(evaluate(p, y, EXPRESSIONS[:classes], bootstrap=0))

    def scores(average: str, labels: NDArray[np.int64]) -> list[float]:
        return list(
            theirs.precision_recall_fscore_support(y, predicted, labels=labels, average=average, zero_division=0)[:3]
        )

    assert ours["accuracy"] == pytest.approx(theirs.accuracy_score(y, predicted))
    assert ours["balanced_accuracy"] == pytest.approx(scores("macro", present)[1])
    assert [ours[f"macro_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(scores("macro", present))
    assert [ours[f"weighted_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(
        scores("weighted", np.arange(classes))
    )
    assert ours["nll"] == pytest.approx(theirs.log_loss(y, p, labels=np.arange(classes)), rel=1e-6)


@given(cases)
def test_confusion_and_per_class_rows_agree_with_scikit_learn(drawn: Case) -> None:
    p, y = drawn
    classes = np.arange(p.shape[1])
    result = evaluate(p, y, EXPRESSIONS[: p.shape[1]], bootstrap=0)
    assert result["confusion"] == theirs.confusion_matrix(y, p.argmax(axis=1), labels=classes).tolist()
    expected = theirs.precision_recall_fscore_support(y, p.argmax(axis=1), labels=classes, zero_division=0)
    for i, row in enumerate(result["per_class"]):
        assert row["support"] == expected[3][i]
        if row["support"]:
            assert [row[name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx(
                [column[i] for column in expected[:3]]
            )
        else:
            assert row["recall"]["value"] is None


def test_top_two_agrees_with_scikit_learn() -> None:
    p, y = case(500, 7, 1)
    ours = values(evaluate(p, y, EXPRESSIONS[:7], bootstrap=0))
    assert ours["top2_accuracy"] == pytest.approx(theirs.top_k_accuracy_score(y, p, k=2, labels=np.arange(7)))


def test_ties_count_one_class_first_as_the_prediction_does() -> None:
    result = values(evaluate(np.full((3, 3), 1 / 3), [0, 1, 2], ["anger", "fear", "neutral"], bootstrap=0))
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["top2_accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("sure", "right", "error"), [(0.9, 0.9, 0.0), (0.9, 0.5, 0.4), (0.6, 1.0, 0.4)])
def test_calibration_error_is_the_gap_between_confidence_and_accuracy(sure: float, right: float, error: float) -> None:
    p = np.tile([sure, 1 - sure], (100, 1))
    y = (np.arange(100) >= round(100 * right)).astype(int)
    assert values(evaluate(p, y, ["fear", "neutral"], bootstrap=0))["ece"] == pytest.approx(error)


def test_no_mistake_among_few_pictures_is_not_certainty() -> None:
    p, y = np.tile([[0.9, 0.1], [0.2, 0.8]], (10, 1)), np.tile([0, 1], 10)
    found = evaluate(p, y, ["fear", "neutral"])
    assert found["metrics"]["accuracy"] == pytest.approx(wilson(20, 20).as_dict())
    assert found["per_class"][0]["recall"] == pytest.approx(wilson(10, 10).as_dict())


def test_no_mistake_among_few_sure_answers_bounds_neither_loss_nor_calibration_error() -> None:
    p, share = np.tile([0.99, 0.01], (20, 1)), wilson(0, 20).high
    found = evaluate(p, np.zeros(20, int), ["fear", "neutral"])["metrics"]
    assert found["nll"]["high"] == pytest.approx(-(1 - share) * np.log(0.99) - share * np.log(0.01))
    assert found["ece"]["high"] == pytest.approx(0.99 - (1 - share))


@given(cases)
def test_no_end_of_the_calibration_error_leaves_its_range(case: Case) -> None:
    p, y = case
    found = evaluate(p, y, EXPRESSIONS[: p.shape[1]], bootstrap=50)["metrics"]["ece"]
    assert found["high"] is None or 0 <= found["low"] <= found["value"] <= found["high"] <= 1


@pytest.mark.parametrize("each", [4, 16])
def test_one_answer_to_everything_is_no_certainty_about_the_mean_over_classes(each: int) -> None:
    p = np.tile(np.float64([0.7, 0.1, 0.1, 0.1]), (4 * each, 1))
    found = evaluate(p, np.repeat(np.arange(4), each), EXPRESSIONS[:4])["metrics"]["balanced_accuracy"]
    assert found["low"] < found["value"] == 0.25 < found["high"]


def test_one_person_gives_figures_without_intervals() -> None:
    p, y = case(40, 3, 3)
    found = evaluate(p, y, EXPRESSIONS[:3], groups=["she"] * 40)
    assert found["metrics"]["accuracy"]["value"] is not None
    assert {each["low"] for each in found["metrics"].values()} == {None}


def test_every_figure_lies_in_its_interval_and_the_same_seed_gives_the_same_one() -> None:
    p, y = case(800, 7, 2)
    result = evaluate(p, y, EXPRESSIONS[:7])
    assert list(result["metrics"]) == list(METRICS)
    figures = list(result["metrics"].values()) + [row["f1"] for row in result["per_class"]]
    assert all(entry["low"] < entry["value"] < entry["high"] for entry in figures)
    assert result == evaluate(p, y, EXPRESSIONS[:7])
    assert result != evaluate(p, y, EXPRESSIONS[:7], seed=1)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_accuracy_interval_is_the_binomial_one() -> None:
    p, y = case(3000, 7, 3)
    accuracy = evaluate(p, y, EXPRESSIONS[:7], bootstrap=2000)["metrics"]["accuracy"]
    half = 1.96 * np.sqrt(accuracy["value"] * (1 - accuracy["value"]) / 3000)
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * half, rel=0.08)


def test_resampling_subjects_widens_the_interval_when_their_pictures_go_together() -> None:
    p, y = case(60, 4, 4)
    p, y, subjects = np.repeat(p, 10, axis=0), np.repeat(y, 10), np.repeat(np.arange(60), 10).tolist()
    rows, people = (
        evaluate(p, y, EXPRESSIONS[:4], groups=groups)["metrics"]["accuracy"] for groups in (None, subjects)
    )
    assert people["value"] == rows["value"]
    assert people["high"] - people["low"] > 2 * (rows["high"] - rows["low"])


def test_without_a_bootstrap_there_are_no_bounds() -> None:
    p, y = case(20, 3, 5)
    assert evaluate(p, y, EXPRESSIONS[:3], bootstrap=0)["metrics"]["accuracy"]["low"] is None


@pytest.mark.parametrize(
    ("p", "y", "message"),
    [
        (np.full((2, 3), 1 / 3), [0, 1], "do not fit"),
        (np.full((0, 2), 0.5), [], "do not fit"),
        (np.full((2, 2), 0.5), [0, 2], "outside the label set"),
        (np.full((2, 2), 0.5), [0, -1], "outside the label set"),
        (np.full((2, 2), 0.7), [0, 1], "sum to 1"),
        (np.array([[np.nan, 1.0]]), [0], "sum to 1"),
    ],
)
def test_what_is_no_prediction_is_refused(p: NDArray[np.float64], y: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(p, y, ["fear", "neutral"])


def test_a_class_that_no_row_shows_has_no_figures_however_often_it_is_answered() -> None:
    p, y = case(60, 3, 5)
    y[y == 2] = 0
    absent = evaluate(p, y, EXPRESSIONS[:3], bootstrap=50)["per_class"][2]
    assert (p.argmax(axis=1) == 2).any() and absent["support"] == 0
    assert {absent[name]["value"] for name in ("precision", "recall", "f1")} == {None}
    assert {absent[name]["low"] for name in ("precision", "recall", "f1")} == {None}
