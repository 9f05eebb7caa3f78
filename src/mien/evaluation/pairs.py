"""Two arms or more on the same rows: exact tests between every two, and the intervals of their differences."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mien.evaluation.statistics import ALPHA, Estimate, holm, interval, resampled_sums, summed_by, units, wilson


@dataclass(frozen=True)
class Pair:
    """One exact test between arms `a` and `b` (positions) as `paired_p` makes it, with its Holm-adjusted p-value.

    `least` is the smallest adjusted p-value that any answers to these rows could have given.
    """

    a: int
    b: int
    only_a: int
    only_b: int
    p: float
    adjusted: float
    least: float

    @property
    def verdict(self) -> Literal["first", "second", "alike", "untold"]:
        """Which arm is better beyond chance, or that neither is; `untold` where no difference could have been."""
        if self.distinguishable:
            return "first" if self.only_a > self.only_b else "second"
        return "untold" if self.least >= ALPHA else "alike"

    @property
    def distinguishable(self) -> bool:
        """Whether the two arms differ at the 5% level after the correction."""
        return self.adjusted < ALPHA


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test from the counts of rows that only one of the two arms gets right.

    McNemar 1947; the exact binomial form as in Dietterich 1998, sec. 3.

    >>> round(mcnemar(2, 10), 4)
    0.0386
    """
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def sign_flips(changes: ArrayLike) -> float:
    """Exact two-sided p-value of the sum of `changes` (K,) int, were the sign of each up to chance.

    With changes of one this is McNemar's test. Larger ones are what a person or a picture asked several times
    contributes as a whole: Fisher's randomisation test over them (Good 2005, sec. 3.6), by the exact distribution.

    >>> round(sign_flips([1] * 10 + [-1] * 2), 4), round(sign_flips([10, -2]), 4)
    (0.0386, 1.0)
    """
    given = np.asarray(changes, np.int64)
    # The scale does not matter to the test, but it does to the length of the distribution.
    given = given // max(1, np.gcd.reduce(given))
    sizes, counts = np.unique(np.abs(given[given != 0]), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        flips = np.zeros(2 * size * count + 1)
        flips[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, flips)
    reach = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, float(chances[reach >= abs(int(given.sum()))].sum()))


def paired_p(right_a: ArrayLike, right_b: ArrayLike, groups: Sequence[Hashable | None] | None = None) -> float:
    """Exact two-sided p-value of two arms (N,) bool on the same rows: McNemar's, or over whole `groups` its kin.

    Answers about one person are not independent, and McNemar's test would count each of them as evidence of its own.
    """
    change = np.asarray(right_b, np.float64) - np.asarray(right_a, np.float64)
    if groups is None:
        return mcnemar(int((change < 0).sum()), int((change > 0).sum()))
    return sign_flips(summed_by(groups, change[:, None])[:, 0])


def paired_difference(
    right_a: ArrayLike,
    right_b: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable | None] | None = None,
) -> Estimate:
    """Accuracy of `b` minus accuracy of `a` (N,) bool on the same rows, with its paired bootstrap interval."""
    change = np.asarray(right_b, np.float64) - np.asarray(right_a, np.float64)
    sums = resampled_sums(np.stack([change, np.ones_like(change)], axis=1), resamples, seed, groups)
    return interval(float(change.mean()), sums[:, 0] / sums[:, 1], units(len(change), groups), within=(-1, 1))


def paired_differences(
    right: NDArray[np.bool_], pairs: Sequence[Pair], groups: Sequence[Hashable | None] | None = None
) -> tuple[Estimate, ...]:
    """What `paired_difference` gives for each pair of arms (K, N) bool, all from the same draws.

    Of several pairs the intervals hold the truth together: in 95% of samples none of them misses it (the bootstrap of
    the largest deviation, Romano & Wolf 2005), as Holm's correction has it for the tests.
    """
    sums = resampled_sums(np.column_stack([*right.astype(np.float64), np.ones(right.shape[1])]), 1000, 0, groups)
    shares, mean, count = sums[:, :-1] / sums[:, -1:], right.mean(axis=1), units(right.shape[1], groups)
    drawn = [shares[:, pair.b] - shares[:, pair.a] for pair in pairs]
    # Arms that answer alike may differ on rows that were not drawn, each pair in its own way.
    unseen = wilson(0, count, ALPHA / max(1, len(pairs))).high
    each = [
        interval(float(mean[pair.b] - mean[pair.a]), of_pair, count, within=(-1, 1), unseen=unseen)
        for pair, of_pair in zip(pairs, drawn, strict=True)
    ]
    spread = np.std(drawn, axis=1, ddof=1) if drawn else np.empty(0)
    moving = spread > 1e-12
    if len(pairs) < 2 or count < 2 or not moving.any():
        return tuple(each)
    moved = np.abs(np.array(drawn) - np.mean(drawn, axis=1, keepdims=True))[moving] / spread[moving, None]
    reach = float(np.quantile(moved.max(axis=0), 1 - ALPHA)) * _few_units(count)
    return tuple(
        replace(
            one,
            low=min(one.low, max(-1.0, one.value - reach * wide)),
            high=max(one.high, min(1.0, one.value + reach * wide)),
        )
        for one, wide in zip(each, spread.tolist(), strict=True)
    )


def _few_units(count: int) -> float:
    """How much further than a normal quantile Student's t and the variance's divisor reach for so many units."""
    return float(stats.t.ppf(1 - ALPHA / 2, count - 1) / stats.norm.ppf(1 - ALPHA / 2)) * math.sqrt(count / (count - 1))


def all_pairs(right: NDArray[np.bool_], groups: Sequence[Hashable | None] | None = None) -> list[Pair]:
    """The exact test between every two arms, `right` (arms, N) on the same rows, Holm-corrected over all of them.

    All pairs and not only those with the best: which arm is best is itself read from the data.
    """
    pairs = list(combinations(range(len(right)), 2))
    counts = [(int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())) for a, b in pairs]
    p = [paired_p(right[a], right[b], groups) for a, b in pairs]
    # All units on one side: of the two ways to share out each of them, two leave the sum as extreme as it is.
    least = min(1.0, len(pairs) * 2.0 ** (1 - units(right.shape[1], groups)))
    return [
        Pair(a, b, *count, plain, adjusted, least)
        for (a, b), count, plain, adjusted in zip(pairs, counts, p, holm(p), strict=True)
    ]


def distinguishable_best(right: NDArray[np.bool_], pairs: Sequence[Pair]) -> int | None:
    """Position of the arm that is better than every other one beyond chance, or None where there is no such arm.

    `right` (arms, N) bool on the same rows, and the tests between them. A table marks its best row only with this.
    """
    best = int(right.mean(axis=1).argmax())
    rivals = [pair for pair in pairs if best in (pair.a, pair.b)]
    return best if rivals and all(pair.distinguishable for pair in rivals) else None
