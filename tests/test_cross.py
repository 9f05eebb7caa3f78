"""Models on sources with other labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import DataError
from mien.evaluation.cross import Answers, cross_cell, cross_matrix, paired, remarks, restrict
from mien.evaluation.report import write_cross_report
from mien.labels import EXPRESSIONS, LABEL_SETS

SEVEN, EIGHT = LABEL_SETS["fer2013"], LABEL_SETS["ferplus"]


def guesses(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows).astype(np.float32)


def test_rows_that_the_model_cannot_name_are_dropped_and_counted() -> None:
    truths = ["fear", "contempt", "happy", "contempt"]
    seen = restrict(guesses(4, 7), SEVEN, truths, EIGHT)
    assert seen.labels == SEVEN
    assert seen.kept.tolist() == [True, False, True, False]
    assert seen.dropped == {"contempt": 2}
    assert [seen.labels[code] for code in seen.targets] == ["fear", "happiness"]
    np.testing.assert_allclose(seen.probabilities, guesses(4, 7)[[0, 2]], atol=1e-6)
    assert seen.rows["contempt"] is None


def test_answers_that_the_source_does_not_know_are_renormalised_away() -> None:
    probabilities = np.zeros((1, 8), np.float32)
    probabilities[0, EIGHT.index("contempt")], probabilities[0, EIGHT.index("fear")] = 0.8, 0.2
    seen = restrict(probabilities, EIGHT, ["fear"], SEVEN)
    assert seen.labels == SEVEN
    assert seen.probabilities[0, SEVEN.index("fear")] == pytest.approx(1)
    assert seen.columns["contempt"] is None


def test_a_merge_adds_columns_and_keeps_rows() -> None:
    probabilities = np.zeros((2, 8), np.float32)
    probabilities[:, EIGHT.index("contempt")], probabilities[:, EIGHT.index("disgust")] = 0.5, 0.25
    probabilities[:, EIGHT.index("fear")] = 0.25
    seen = restrict(probabilities, EIGHT, ["contempt", "fear"], EIGHT, merge={"contempt": "disgust"})
    assert seen.labels == SEVEN
    np.testing.assert_allclose(seen.probabilities[:, SEVEN.index("disgust")], 0.75)
    assert seen.targets.tolist() == [SEVEN.index("disgust"), SEVEN.index("fear")]
    assert not seen.dropped


def test_a_row_with_no_mass_left_is_even() -> None:
    probabilities = np.eye(8, dtype=np.float32)[[EIGHT.index("contempt")]]
    np.testing.assert_allclose(restrict(probabilities, EIGHT, ["fear"], SEVEN).probabilities, 1 / 7, rtol=1e-6)


@given(
    model=st.sets(st.sampled_from(EXPRESSIONS), min_size=2),
    source=st.sets(st.sampled_from(EXPRESSIONS), min_size=2),
    seed=st.integers(0, 99),
)
def test_what_is_left_is_shared_labels_and_probabilities(model: set[str], source: set[str], seed: int) -> None:
    labels, known = tuple(sorted(model)), tuple(sorted(source))
    truths = np.random.default_rng(seed).choice(known, 12).tolist()
    if len(model & source) < 2 or not model & set(truths):
        with pytest.raises(DataError):
            restrict(guesses(12, len(labels), seed), labels, truths, known)
        return
    seen = restrict(guesses(12, len(labels), seed), labels, truths, known)
    assert set(seen.labels) == model & source
    np.testing.assert_allclose(seen.probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(seen.targets) == len(seen.probabilities) == seen.kept.sum()
    assert seen.kept.sum() + sum(seen.dropped.values()) == 12
    assert set(seen.dropped) <= source - model


def cell(run: str, source: str, labels: tuple[str, ...], known: tuple[str, ...]) -> dict:
    rng = np.random.default_rng(1)
    truths = rng.choice(known, 60).tolist()
    seen = restrict(guesses(60, len(labels)), labels, truths, known)
    made = cross_cell(run, source, seen, groups=[str(i // 2) for i in range(60)], bootstrap=50)
    return made | {"protocol": "unnamed@0123456789ab", "opened": 1}


def test_several_runs_and_sources_make_one_table(tmp_path: Path) -> None:
    matrix = cross_matrix(
        [cell("a<b", "fer2013", SEVEN, SEVEN), cell("a<b", "ferplus", SEVEN, EIGHT), cell("c", "ferplus", EIGHT, EIGHT)]
    )
    assert json.loads(json.dumps(matrix)) == matrix
    assert (matrix["runs"], matrix["sources"]) == (["a<b", "c"], ["fer2013", "ferplus"])
    assert any("contempt left out" in text for text in remarks(matrix))
    assert any("7 to 8 classes" in text for text in remarks(matrix))
    page = write_cross_report(matrix, tmp_path / "cross.html").read_text()
    assert "a&lt;b" in page
    assert "<td>–</td>" in page, "c has not met fer2013"


def test_one_pair_twice_is_refused() -> None:
    twice = cell("a", "fer2013", SEVEN, SEVEN)
    with pytest.raises(DataError, match="same source twice"):
        cross_matrix([twice, twice])


def answered(rows: np.ndarray, right: np.ndarray, groups: list[str] | None = None) -> Answers:
    """Answers of two labels, of which the first is always true."""
    sure = np.where(right, 0.9, 0.1).astype(np.float32)
    return Answers(rows, ("anger", "fear"), np.stack([sure, 1 - sure], axis=1), np.zeros(len(rows), np.int64), groups)


def test_two_runs_are_tested_on_the_rows_that_both_were_judged_on(tmp_path: Path) -> None:
    sure, poor = np.ones(30, bool), np.ones(20, bool)
    poor[2:12] = False
    (pair,) = paired({"sure": answered(np.arange(30), sure), "poor": answered(np.arange(5, 25), poor)})
    assert (pair["a"], pair["b"], pair["rows"], pair["only_a"], pair["only_b"]) == ("sure", "poor", 20, 10, 0)
    assert pair["p"] == pytest.approx(2 / 2**10) and pair["verdict"] == "first"
    assert pair["difference"]["value"] == pytest.approx(-0.5)
    matrix = cross_matrix([cell("sure", "x", SEVEN, SEVEN), cell("poor", "x", SEVEN, SEVEN)], {"x": [pair]})
    assert json.loads(json.dumps(matrix)) == matrix
    assert "sure is better" in write_cross_report(matrix, tmp_path / "cross.html").read_text()


def test_runs_of_different_labels_face_the_same_task() -> None:
    narrow = answered(np.arange(20), np.ones(20, bool))
    three, targets = ("contempt", "anger", "fear"), np.ones(20, np.int64)
    tempted = np.tile(np.array([0.5, 0.4, 0.1], np.float32), (20, 1))
    targets[15:] = 0
    (pair,) = paired({"two": narrow, "three": Answers(np.arange(20), three, tempted, targets)})
    assert pair["labels"] == ["anger", "fear"] and pair["rows"] == 15
    assert pair["only_a"] == pair["only_b"] == 0, "its contempt is no answer to a question of anger or fear"


def test_people_are_one_thing_each_in_a_test_of_two_runs() -> None:
    rows, wrong, groups = np.arange(40), np.arange(40) >= 10, [str(row // 10) for row in range(40)]
    alone = paired({"a": answered(rows, np.ones(40, bool)), "b": answered(rows, wrong)})[0]
    told = paired({"a": answered(rows, np.ones(40, bool), groups), "b": answered(rows, wrong, groups)})[0]
    assert alone["p"] < 0.01 and told["p"] == 1


def test_runs_without_a_common_row_or_label_and_single_runs_are_not_tested() -> None:
    one, two = answered(np.arange(5), np.ones(5, bool)), answered(np.arange(5, 9), np.ones(4, bool))
    other = Answers(np.arange(5), ("sadness", "neutral"), one.probabilities, one.targets)
    assert paired({"one": one, "two": two}) == paired({"one": one}) == paired({"one": one, "other": other}) == []


def test_what_holds_for_every_run_is_told_once() -> None:
    notes = {"a": ["all test", "seen"], "b": ["all test"]}
    cells = [cell(run, "x", SEVEN, SEVEN) | {"notes": told} for run, told in notes.items()]
    assert remarks(cross_matrix(cells)) == ["every model on x: all test", "a on x: seen"]
