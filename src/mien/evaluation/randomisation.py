"""Randomisation tests: of macro F1 between two arms on the same rows, of accuracy between two groups of answers."""

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
_BLOCKS, _AT_ONCE = 10, 1000

Counts = NDArray[np.float64]


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


def exchanged_p(a: ArrayLike, b: ArrayLike, seed: int = 0) -> float:
    """Two-sided p-value of equal accuracy of two groups; `a`, `b` (U, 2) are right answers and answers a person.

    A person without an answer in a group has zeros there. Were the group of no account, a person who is in one group
    could as well be in the other, and one who is in both could have given the shares of right answers the other way
    round: 10,000 such exchanges say how often chance makes as large a difference. It is divided by its own standard
    error each time, so that groups of unequal size and spread do not pass for unequal accuracy (Janssen 1997). The
    smallest value is about 0.0001, and much larger where there are few people. Raises ValueError for an empty group.

    >>> together = exchanged_p([[9, 10]] * 8, [[7, 10]] * 8)
    >>> round(exchanged_p([[9, 10]] * 3 + [[0, 0]] * 3, [[0, 0]] * 3 + [[7, 10]] * 3), 1), together < 0.02
    (0.1, True)
    """
    people = np.concatenate([np.asarray(a, np.float64), np.asarray(b, np.float64)], axis=1)
    if not people[:, 1].any() or not people[:, 3].any():
        raise ValueError("a group has no answers")
    # Who is in neither group could not have been in one of them instead of the other.
    people = people[people[:, [1, 3]].any(axis=1)]
    both = (people[:, 1] > 0) & (people[:, 3] > 0)
    apart = people[~both]
    # People who answered alike are interchangeable: drawing how many of a kind go where is drawing who does.
    kinds, alike = np.unique(apart[:, :2] + apart[:, 2:], axis=0, return_counts=True)
    pairs, twice = np.unique(people[both], axis=0, return_counts=True)
    nobody = np.zeros_like(kinds)
    places = [np.hstack([kinds, nobody]), np.hstack([nobody, kinds]), pairs, _turned(pairs)]
    moments = np.concatenate([_moments(place) for place in places])
    generator = np.random.default_rng(seed)
    reached, size = _size(_moments(people).sum(axis=0, keepdims=True))[0], int((apart[:, 3] > 0).sum())
    larger = 0
    for _ in range(_BLOCKS):
        moved = generator.multivariate_hypergeometric(alike, size, _AT_ONCE) if len(kinds) else np.zeros((_AT_ONCE, 0))
        kept = generator.binomial(twice, 0.5, (_AT_ONCE, len(pairs)))
        drawn = np.concatenate([alike - moved, moved, kept, twice - kept], axis=1)
        larger += int((_size(drawn @ moments) >= reached * (1 - 1e-9)).sum())
    return (1 + larger) / (1 + _BLOCKS * _AT_ONCE)


def _turned(pairs: Counts) -> Counts:
    """People of both groups with their shares of right answers exchanged; how often each was asked stays."""
    share = pairs[:, [0, 2]] / pairs[:, [1, 3]]
    return np.stack([share[:, 1] * pairs[:, 1], pairs[:, 1], share[:, 0] * pairs[:, 3], pairs[:, 3]], axis=1)


def _moments(people: Counts) -> Counts:
    """The counts of people (K, 4) and their products (K, 20): sums of them give a difference and its variance."""
    return np.concatenate([people, (people[:, :, None] * people[:, None, :]).reshape(len(people), 16)], axis=1)


def _size(sums: Counts) -> Counts:
    """How many standard errors the accuracies lie apart (B,), from sums of `_moments` (B, 20)."""
    right_a, asked_a, right_b, asked_b = sums[:, :4].T
    accuracy_a, accuracy_b = right_a / asked_a, right_b / asked_b
    # What one person adds to the difference, by the linear terms of a ratio of sums (Cochran 1977, sec. 2.11).
    slope = np.stack([-1 / asked_a, accuracy_a / asked_a, 1 / asked_b, -accuracy_b / asked_b], axis=1)
    variance = np.einsum("bi,bij,bj->b", slope, sums[:, 4:].reshape(-1, 4, 4), slope)
    apart = np.abs(accuracy_b - accuracy_a)
    unsure = variance > 1e-15
    sizes = np.where(apart > 1e-12, np.inf, 0.0)
    sizes[unsure] = apart[unsure] / np.sqrt(variance[unsure])
    return sizes
