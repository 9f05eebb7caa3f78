"""Randomisation tests: of macro F1 between two arms on the same rows, of accuracy between two groups of answers."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.evaluation.metrics import confusion_cells, of_confusions
from mien.evaluation.statistics import Estimate, holm, interval, resampled_sums, summed_by, units

_DRAWS = 9_999
_EXACT = 13
"""Up to so many groups or rows that differ, all ways to exchange their answers are counted."""

_CELLS_AT_ONCE = 4_000_000
_BLOCKS, _AT_ONCE = 10, 1000

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class MacroF1:
    """Macro F1 of the second of two arms minus that of the first, with its paired bootstrap interval; the p-value of
    the test, and the same corrected by Holm for all pairs."""

    difference: Estimate
    p: float
    adjusted: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"difference": self.difference.as_dict(), "p": self.p, "adjusted": self.adjusted}


def macro_f1_pairs(
    answers: Sequence[ArrayLike],
    targets: ArrayLike,
    classes: int,
    groups: Sequence[Hashable | None] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[MacroF1, ...]:
    """Macro F1 of every two of several arms against each other, the pairs in the order of `itertools.combinations`.

    `answers` (arms, N) and `targets` (N,) int in 0..classes-1. The test exchanges both arms' answers to a row, or to
    all rows of one of `groups`, at random: if the arms are equally good, who gave which answer is up to chance. Exact
    for few, else of 9,999 draws, whose least p is 0.0001. Noreen 1989; for F scores Yeh, More accurate tests for the
    statistical significance of result differences, COLING 2000.
    """
    truth = np.asarray(targets, np.int64)
    cells = np.stack([confusion_cells(np.asarray(arm, np.int64), truth, classes) for arm in answers], axis=1)
    columns = cells.reshape(len(truth), -1)
    drawn = _macro_f1(resampled_sums(columns, resamples, seed, groups), len(answers), classes)
    whole = _macro_f1(columns.sum(axis=0, keepdims=True), len(answers), classes)[0]
    together = columns if groups is None else summed_by(groups, columns)
    arms = together.reshape(len(together), len(answers), -1)
    pairs, count = [*combinations(range(len(answers)), 2)], units(len(truth), groups)
    p = [_exchanged(arms[:, a], arms[:, b], classes, seed) for a, b in pairs]
    return tuple(
        MacroF1(interval(float(whole[b] - whole[a]), drawn[:, b] - drawn[:, a], count, within=(-1, 1)), plain, adjusted)
        for (a, b), plain, adjusted in zip(pairs, p, holm(p), strict=True)
    )


def _macro_f1(sums: NDArray[np.floating], arms: int, classes: int) -> NDArray[np.float64]:
    """Macro F1 (B, arms) of the confusion cells of several arms, side by side (B, arms x classes²)."""
    return of_confusions(np.asarray(sums, np.float64).reshape(-1, classes**2), classes)["macro_f1"].reshape(-1, arms)


def _exchanged(ours: NDArray[np.floating], theirs: NDArray[np.floating], classes: int, seed: int) -> float:
    """The p-value of a difference in macro F1, of the confusion cells (units, classes²) of both arms."""
    differs = (ours != theirs).any(axis=1)
    half, middle = (theirs - ours)[differs] / 2, (ours + theirs).sum(axis=0) / 2

    def sizes(signs: NDArray[np.floating]) -> NDArray[np.float64]:
        moved = signs @ half
        first, second = _macro_f1(np.hstack([middle - moved, middle + moved]), 2, classes).T
        return np.abs(second - first)

    observed = sizes(np.ones((1, len(half))))[0] - 1e-12
    if len(half) <= _EXACT:
        ways = np.array([*product((-1.0, 1.0), repeat=len(half))]).reshape(2 ** len(half), len(half))
        return float((sizes(ways) >= observed).mean())
    generator, step, as_large = np.random.default_rng(seed), max(1, _CELLS_AT_ONCE // len(half)), 0
    for start in range(0, _DRAWS, step):
        signs = generator.integers(0, 2, (min(step, _DRAWS - start), len(half))) * 2.0 - 1
        as_large += int((sizes(signs) >= observed).sum())
    return (as_large + 1) / (_DRAWS + 1)


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
