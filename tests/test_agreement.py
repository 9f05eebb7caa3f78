"""Agreement with annotators: figures by hand, bounds that nothing surpasses, and groups."""

import json
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mien.errors import DataError
from mien.evaluation.agreement import agreement

VOTES = np.array([[1, 0, 0], [0.8, 0.2, 0], [0.6, 0.4, 0], [0.3, 0.3, 0.4]], np.float32)
TARGETS = VOTES.argmax(axis=1)


def drawn(rows: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities, and the votes of ten annotators, over four classes."""
    generator = np.random.default_rng(seed)
    votes = generator.multinomial(10, generator.dirichlet(np.ones(4), rows)) / 10
    return generator.dirichlet(np.ones(4), rows), votes


def test_figures_are_those_made_by_hand() -> None:
    p = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])
    found = agreement(p, TARGETS, VOTES)
    assert [(band.low, band.high, band.rows, band.accuracy.value) for band in found.bands] == [
        (0.0, 0.5, 1, 1.0), (0.5, 0.6, 1, 1.0), (0.7, 0.8, 1, 0.0), (0.9, 1.0, 1, 1.0),
    ]  # fmt: skip
    one, two = found.matched
    assert (one.answers, two.answers) == (1, 2)
    assert one.model.value == pytest.approx((1 + 0.2 + 0.6 + 0.4) / 4)
    assert one.votes.value == pytest.approx((1 + 0.8 + 0.6 + 0.4) / 4)
    assert two.model.value == pytest.approx((1 + 1 + 1 + 0.7) / 4)
    by_hand = [log(0.9), 0.8 * log(0.1) + 0.2 * log(0.8), 0.6 * log(0.5) + 0.4 * log(0.3)]
    by_hand.append(0.3 * log(0.1) + 0.3 * log(0.3) + 0.4 * log(0.6))
    assert found.cross_entropy.value == pytest.approx(-np.mean(by_hand))
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["rows"] == 4


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_nothing_surpasses_the_votes(rows: int, seed: int) -> None:
    p, votes = drawn(rows, seed)
    found = agreement(p, votes.argmax(axis=1), votes, resamples=20)
    assert found.cross_entropy.value >= found.entropy.value - 1e-9
    assert all(each.model.value <= each.votes.value + 1e-9 for each in found.matched)
    assert sum(band.rows for band in found.bands) == rows
    itself = agreement(votes, votes.argmax(axis=1), votes, resamples=20)
    assert itself.cross_entropy.value == pytest.approx(itself.entropy.value)
    assert all(each.model.value == pytest.approx(each.votes.value) for each in itself.matched)
    assert all(band.accuracy.value == 1 for band in itself.bands)


def test_people_are_drawn_whole() -> None:
    p, votes = drawn(200, 0)
    targets, people = votes.argmax(axis=1), [f"person {row // 40}" for row in range(200)]
    alone, together = agreement(p, targets, votes), agreement(p, targets, votes, groups=people)
    assert alone.matched[0].model.value == together.matched[0].model.value
    assert alone.bands[0].accuracy.value == together.bands[0].accuracy.value
    assert alone.bands[0].accuracy != together.bands[0].accuracy


def test_without_resamples_there_are_no_intervals() -> None:
    found = agreement(VOTES, TARGETS, VOTES, resamples=0).as_dict()
    assert found["entropy"]["low"] is None and found["matched"][0]["model"]["high"] is None


def test_two_classes_have_no_second_guess() -> None:
    votes = np.array([[0.7, 0.3], [0.2, 0.8]])
    assert [each.answers for each in agreement(votes, [0, 1], votes).matched] == [1]


def test_votes_over_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        agreement(VOTES, TARGETS, VOTES[:, :2])
