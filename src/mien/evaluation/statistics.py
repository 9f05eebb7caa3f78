"""Intervals: the bootstrap, Wilson, and spread over seeds; and Holm's correction."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ALPHA = 0.05
"""Level of every test, and one minus the coverage of every interval."""

_CELLS_AT_ONCE = 4_000_000
_SELDOM = 10


FEW = 6
"""Below so many groups, intervals that draw them whole are too narrow (docs/protocols.md)."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; NaN bounds mean that no interval can be given."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN: an unknown number is None."""
        return {key: number if math.isfinite(number) else None for key, number in asdict(self).items()}


@dataclass(frozen=True)
class Spread:
    """Mean over repeated runs, their sample standard deviation, and the t interval of the mean."""

    mean: Estimate
    deviation: float
    runs: int


def resampled_sums(
    columns: NDArray[np.float64], resamples: int, seed: int = 0, groups: Sequence[Hashable | None] | None = None
) -> NDArray[np.float64]:
    """Column sums (resamples, F) of bootstrap resamples of the rows of `columns` (N, F).

    Every statistic that is a function of sums over rows can be resampled through this: a resample is a vector of
    multinomial weights, so all of them are one matrix product. With `groups` (N values, e.g. subjects) whole groups
    are drawn, since pictures of one person are not independent; a row without a group is a group of its own.
    Efron & Tibshirani 1993, ch. 6; for clusters Davison & Hinkley 1997, sec. 3.8.
    """
    units = columns if groups is None else summed_by(groups, columns)
    count, generator = len(units), np.random.default_rng(seed)
    sums = np.empty((resamples, columns.shape[1]))
    step = max(1, _CELLS_AT_ONCE // count)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        sums[start : start + rows] = weights.astype(np.float64) @ units
    return sums


def units(rows: int, groups: Sequence[Hashable | None] | None = None) -> int:
    """How many independent things `resampled_sums` draws: groups, or rows where there are none."""
    if groups is None:
        return rows
    codes, names = pd.factorize(pd.Series(list(groups), dtype=object))
    return len(names) + int((codes < 0).sum())


def few(pictures: int, groups: Sequence[Hashable | None] | None) -> list[str]:
    """A remark where `pictures` show so few people or sequences that intervals are too narrow, or none; else nothing.

    `groups` (N,) are those of the answers, of which there are several to a picture that several seeds were asked about.

    >>> few(33, ["a"] * 16 + ["b"] * 17), few(33, None)
    (['the 33 pictures show 2 people or sequences: below 6, intervals of ... are too narrow'], [])
    >>> few(33, ["a"] * 33)
    ['the 33 pictures show one person or sequence: of one no interval can be given']
    """
    count = units(pictures, groups)
    if groups is None or count >= FEW:
        return []
    if count == 1:
        return [f"the {pictures:,} pictures show one person or sequence: of one no interval can be given"]
    narrow = "intervals of other figures than accuracy, and recall and precision of a class, are too narrow"
    return [f"the {pictures:,} pictures show {count} people or sequences: below {FEW}, {narrow}"]


def thin(labels: Iterable[str]) -> list[str]:
    """A remark where a class has fewer than ten test pictures, of which `labels` are the true ones; else nothing.

    >>> thin(["fear"] * 3 + ["anger"] * 10)
    ['few test pictures of fear (3): macro figures, which weigh all classes alike, move with each of them']
    """
    counts = sorted(Counter(labels).items())
    seldom = ", ".join(f"{label} ({count})" for label, count in counts if count < _SELDOM)
    if not seldom:
        return []
    return [f"few test pictures of {seldom}: macro figures, which weigh all classes alike, move with each of them"]


def interval(
    value: float,
    drawn: NDArray[np.float64],
    count: int,
    within: tuple[float, float] | None = None,
    unseen: float | None = None,
) -> Estimate:
    """`value` with the 95% expanded percentile interval of its bootstrap replicates `drawn` (B,), NaN ones left out.

    `count` independent units were drawn. Percentiles as they are give too short an interval from few of them; they are
    moved outwards as far as Student's t and the variance's divisor ask (Hesterberg 2015, sec. 3.4.2), which is nothing
    for thousands of pictures and much for five people. From one unit no interval can be given. Where a
    percentile is the value itself, as when all answers are right or two arms answer alike, resampling cannot see the
    doubt on that side. For what lies `within` two bounds it is how far exceptions could move it: as large a share
    `unseen` as Wilson's interval allows where none of the units was one, if no other is given.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size or not math.isfinite(value) or count < 2:
        return Estimate(value, math.nan, math.nan)
    tail = stats.norm.cdf(stats.t.ppf(ALPHA / 2, count - 1) * math.sqrt(count / (count - 1)))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    if within:
        unseen = wilson(0, count).high if unseen is None else unseen
        low = value - unseen * (value - within[0]) if math.isclose(low, value, abs_tol=1e-9) else low
        high = value + unseen * (within[1] - value) if math.isclose(high, value, abs_tol=1e-9) else high
    return Estimate(value, float(low), float(high))


def proportion(right: ArrayLike, groups: Sequence[Hashable | None] | None = None) -> Estimate:
    """The share of `right` (N,) bool with Wilson's interval, for as many rows as `groups` of them are worth.

    From one group no interval can be given.
    """
    values = np.asarray(right, bool)
    if groups is not None and units(len(values), groups) < 2:
        return Estimate(float(values.mean()), math.nan, math.nan)
    if not len(values):
        return wilson(0, 0)
    share, rows = float(values.mean()), independent(values, groups)
    told = wilson(share * rows, rows)
    # Of a part of a row, the quotient may miss the share by a rounding.
    return Estimate(share, min(told.low, share), max(told.high, share))


def independent(right: NDArray[np.bool_], groups: Sequence[Hashable | None] | None) -> float:
    """How many rows, each by itself, would tell the share of `right` (N,) as well as these of some groups do.

    Korn & Graubard, Survey Methodology 1998: the sample size over the design effect, less for few groups.
    """
    if groups is None:
        return len(right)
    place = _places(groups)
    sizes = np.bincount(place)
    if len(sizes) < 2:
        return len(sizes)
    share, count = float(right.mean()), len(sizes)
    errors = np.bincount(place, right - share)
    # Groups that agree by chance, or in being right throughout, would tell more, or less, than those that nearly do:
    # they are taken to spread as far as one exception sets them apart, in the smallest group, which it does the most.
    exception = -sizes / len(right)
    exception[np.argmin(sizes)] += 1
    squares = max(float((errors**2).sum()), float((exception**2).sum()))
    share = share if 0 < share < 1 else 1 / len(right)
    variance = count / (count - 1) * squares / len(right) ** 2
    widened = (stats.t.ppf(0.975, len(right) - 1) / stats.t.ppf(0.975, count - 1)) ** 2
    return min(len(right), share * (1 - share) / variance * widened)


def wilson(successes: float, trials: float, alpha: float = ALPHA) -> Estimate:
    """A proportion with its Wilson score interval (Wilson 1927), of coverage 1 - `alpha`; right also near 0 and 1 and
    for few trials.

    >>> estimate = wilson(10, 10)
    >>> f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
    '1.00 [0.72, 1.00]'
    """
    if not trials:
        return Estimate(math.nan, math.nan, math.nan)
    share, z = successes / trials, float(stats.norm.ppf(1 - alpha / 2))
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Estimate(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def over_seeds(
    values: Sequence[float],
    test_to_train: float = 0.0,
    within: tuple[float, float] = (-math.inf, math.inf),
    folds: Sequence[Hashable] | None = None,
) -> Spread:
    """Mean, sample standard deviation and t interval of repeated runs; one run has neither spread nor interval.

    The interval ends at the bounds of the quantity: `within` (0, 1) for a share, (0, inf) for a loss, no bounds else.

    Folds train on rows that they share and vary less than independent runs would: `test_to_train`, the size of their
    test part against that of the rest, widens the interval for it (Nadeau & Bengio 2003). Runs that differ by their
    seed alone leave it 0; their interval is about training, and the test pictures stay as they are. Where `folds` names
    the fold of each run, several seeds of one fold count as one run, their mean: they bring no new test picture.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Spread(Estimate(mean, math.nan, math.nan), math.nan, len(values))
    deviation = float(np.std(values, ddof=1))
    alone = _means_of(values, folds) if folds and len(set(folds)) > 1 else np.asarray(values)
    spread, count = float(np.std(alone, ddof=1)), len(alone)
    half = float(stats.t.ppf(1 - ALPHA / 2, count - 1)) * spread * math.sqrt(1 / count + test_to_train)
    low, high = max(within[0], mean - half), min(within[1], mean + half)
    return Spread(Estimate(mean, low, high), deviation, len(values))


def _means_of(values: Sequence[float], folds: Sequence[Hashable]) -> NDArray[np.float64]:
    found: dict[Hashable, list[float]] = {}
    for value, fold in zip(values, folds, strict=True):
        found.setdefault(fold, []).append(value)
    return np.array([np.mean(each) for each in found.values()])


def unpaired_difference(
    right_a: ArrayLike,
    right_b: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    groups_a: Sequence[Hashable | None] | None = None,
    groups_b: Sequence[Hashable | None] | None = None,
) -> Estimate:
    """Accuracy of `b` (M,) minus accuracy of `a` (N,), bool, on rows of their own: each is resampled by itself."""

    def drawn(right: NDArray[np.float64], groups: Sequence[Hashable | None] | None, seed: int) -> NDArray[np.float64]:
        sums = resampled_sums(np.stack([right, np.ones_like(right)], axis=1), resamples, seed, groups)
        return sums[:, 0] / sums[:, 1]

    a, b = np.asarray(right_a, np.float64), np.asarray(right_b, np.float64)
    count = min(units(len(a), groups_a), units(len(b), groups_b))
    return interval(
        float(b.mean() - a.mean()), drawn(b, groups_b, seed + 1) - drawn(a, groups_a, seed), count, within=(-1, 1)
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the given order (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(np.asarray(p, np.float64)[order] * np.arange(len(p), 0, -1))
    placed = np.empty(len(p))
    placed[order] = np.minimum(adjusted, 1)
    return placed.tolist()


def summed_by(groups: Sequence[Hashable | None], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of columns (N, k) in each group, (G, k); a row whose group is None is one by itself."""
    place = _places(groups)
    sums = np.zeros((int(place.max()) + 1, columns.shape[1]))
    np.add.at(sums, place, columns)
    return sums


def _places(groups: Sequence[Hashable | None]) -> NDArray[np.int64]:
    """The number of each row's group (N,); a row whose group is None is one by itself."""
    codes, names = pd.factorize(pd.Series(list(groups), dtype=object))
    alone = codes < 0
    return np.where(alone, len(names) + np.cumsum(alone) - 1, codes)
