"""How well answers agree with annotators who did not all say the same."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import DataError
from mien.evaluation.statistics import Estimate, interval, proportion, resampled_sums, units

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The bands of agreement: with ten annotators or fewer, the last one is where all of them agree."""

_LEAST = 1e-12


@dataclass(frozen=True)
class Band:
    """The rows where the most frequent vote has a share of the votes in (low, high], and the accuracy on them."""

    low: float
    high: float
    rows: int
    accuracy: Estimate


@dataclass(frozen=True)
class Matched:
    """The mean probability that an annotator drawn at random names one of so many `answers`: of the likeliest that the
    model has, and of the most frequent votes, which no model surpasses."""

    answers: int
    model: Estimate
    votes: Estimate


@dataclass(frozen=True)
class Agreement:
    """Answers against the votes on `rows` pictures.

    `cross_entropy` is that of the probabilities from the votes, in nats, and `entropy` that of the votes, its floor.
    `matched` for one answer: `votes` is also what one annotator gets, judged by the most frequent vote.
    """

    rows: int
    bands: tuple[Band, ...]
    cross_entropy: Estimate
    entropy: Estimate
    matched: tuple[Matched, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where an unknown number is None."""
        return {
            "rows": self.rows,
            "bands": [
                {"low": each.low, "high": each.high, "rows": each.rows, "accuracy": each.accuracy.as_dict()}
                for each in self.bands
            ],
            "cross_entropy": self.cross_entropy.as_dict(),
            "entropy": self.entropy.as_dict(),
            "matched": [
                {"answers": each.answers, "model": each.model.as_dict(), "votes": each.votes.as_dict()}
                for each in self.matched
            ],
        }


def agreement(
    probabilities: ArrayLike,
    targets: ArrayLike,
    votes: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable | None] | None = None,
) -> Agreement:
    """Judge probabilities (N, C) for targets (N,) by the `votes` (N, C) of the annotators, rows summing to 1.

    Label distributions as in Barsoum et al. 2016 (FERPlus). With `groups` (N names, e.g. subjects) whole groups are
    resampled; without `resamples` there are no intervals. Bands without rows are left out. Raises DataError for shapes
    that do not fit.
    """
    p, y, v = np.asarray(probabilities, np.float64), np.asarray(targets), np.asarray(votes, np.float64)
    if p.shape != v.shape or p.shape[:1] != y.shape or not len(p):
        raise DataError("probabilities, targets and votes do not fit", got=(p.shape, y.shape, v.shape))
    # Votes are kept in 32 bits, and their sums are a little more or less than 1.
    v = v / v.sum(axis=1, keepdims=True)
    columns = {
        "cross_entropy": -(v * np.log(np.maximum(p, _LEAST))).sum(axis=1),
        "entropy": -(v * np.log(np.maximum(v, _LEAST))).sum(axis=1),
    }
    several = [answers for answers in (1, 2) if answers < p.shape[1]]
    for answers in several:
        for name, order in (("model", p), ("votes", v)):
            first = np.argsort(-order, axis=1, kind="stable")[:, :answers]
            columns[f"{name}{answers}"] = np.take_along_axis(v, first, axis=1).sum(axis=1)
    means = _means(columns, resamples, seed, groups)
    return Agreement(
        len(p),
        tuple(_bands(p.argmax(axis=1) == y, v.max(axis=1), groups, resamples > 0)),
        means["cross_entropy"],
        means["entropy"],
        tuple(Matched(answers, means[f"model{answers}"], means[f"votes{answers}"]) for answers in several),
    )


def _bands(
    right: NDArray[np.bool_], share: NDArray[np.float64], groups: Sequence[Hashable | None] | None, intervals: bool
) -> list[Band]:
    # Three fifths in 32 bits are a little more than 0.6.
    share, found = share.round(6), []
    for low, high in pairwise(EDGES):
        inside = (share > low) & (share <= high)
        if rows := int(inside.sum()):
            within = None if groups is None else list(compress(groups, inside))
            accuracy = proportion(right[inside], groups=within)
            bare = Estimate(accuracy.value, math.nan, math.nan)
            found.append(Band(low, high, rows, accuracy if intervals else bare))
    return found


def _means(
    columns: dict[str, NDArray[np.float64]], resamples: int, seed: int, groups: Sequence[Hashable | None] | None
) -> dict[str, Estimate]:
    stacked = np.column_stack([*columns.values(), np.ones(len(next(iter(columns.values()))))])
    sums = resampled_sums(stacked, resamples, seed, groups)
    count = units(len(stacked), groups)
    return {
        name: interval(
            float(column.mean()), sums[:, place] / sums[:, -1], count, within=None if "entropy" in name else (0, 1)
        )
        for place, (name, column) in enumerate(columns.items())
    }
