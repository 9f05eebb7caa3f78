"""Macro F1 of two arms on the same rows: the difference, and whether chance gives as large a one."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.evaluation.metrics import confusion_cells, of_confusions
from mien.evaluation.statistics import Estimate, interval, resampled_sums, summed_by, units

_DRAWS = 9_999
_EXACT = 13
"""Up to so many groups or rows that differ, all ways to exchange their answers are counted."""

_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Change:
    """A figure of one arm minus that of another, with its paired bootstrap interval, and the p-value of the test."""

    difference: Estimate
    p: float


def paired_macro_f1(
    a: ArrayLike,
    b: ArrayLike,
    targets: ArrayLike,
    classes: int,
    groups: Sequence[Hashable | None] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Change:
    """Macro F1 of answers `b` minus that of `a` (N,) int in 0..classes-1, for `targets` (N,) int.

    The test exchanges both arms' answers to a row, or to all rows of one of `groups`, at random: if the arms are
    equally good, who gave which answer is up to chance. Exact for few, else of 9,999 draws, whose least p is 0.0001.
    Noreen 1989; for F scores Yeh, More accurate tests for the statistical significance of result differences, COLING
    2000.
    """
    truth = np.asarray(targets, np.int64)
    columns = np.hstack([confusion_cells(np.asarray(arm, np.int64), truth, classes) for arm in (a, b)])
    whole = _change(columns.sum(axis=0, keepdims=True), classes)[0]
    drawn = _change(resampled_sums(columns, resamples, seed, groups), classes)
    difference = interval(float(whole), drawn, units(len(truth), groups), within=(-1, 1))
    return Change(difference, _exchanged(columns if groups is None else summed_by(groups, columns), classes, seed))


def _exchanged(cells: NDArray[np.floating], classes: int, seed: int) -> float:
    """The p-value of the difference, of (units, 2 x classes²) confusion cells: those of one arm, then of the other."""
    ours, theirs = np.hsplit(cells, 2)
    differs = (ours != theirs).any(axis=1)
    half, middle = (theirs - ours)[differs] / 2, (ours + theirs).sum(axis=0) / 2
    observed = abs(_exchange(np.ones((1, len(half))), half, middle, classes)[0])
    generator, step = np.random.default_rng(seed), max(1, _CELLS_AT_ONCE // max(1, len(half)))
    if len(half) <= _EXACT:
        signs = np.array([*product((-1.0, 1.0), repeat=len(half))]).reshape(2 ** len(half), len(half))
        return float((np.abs(_exchange(signs, half, middle, classes)) >= observed - 1e-12).mean())
    as_large = 0
    for start in range(0, _DRAWS, step):
        signs = generator.integers(0, 2, (min(step, _DRAWS - start), len(half))) * 2.0 - 1
        as_large += int((np.abs(_exchange(signs, half, middle, classes)) >= observed - 1e-12).sum())
    return (as_large + 1) / (_DRAWS + 1)


def _exchange(
    signs: NDArray[np.floating], half: NDArray[np.floating], middle: NDArray[np.floating], classes: int
) -> NDArray[np.float64]:
    moved = signs @ half
    return _change(np.hstack([middle - moved, middle + moved]), classes)


def _change(sums: NDArray[np.floating], classes: int) -> NDArray[np.float64]:
    """Macro F1 of the second half of the columns minus that of the first, a row each (B,)."""
    ours, theirs = (of_confusions(each, classes)["macro_f1"] for each in np.hsplit(sums, 2))
    return theirs - ours
