"""Probabilities one can use: temperature scaling, reliability, and an `uncertain` answer at a chosen risk."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from mien.evaluation.statistics import Estimate, independent

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

BINS = 15
"""Equal-width confidence bins of the calibration error, as in Guo et al. 2017."""

_LEAST = 1e-12
_TEMPERATURES = (0.05, 20.0)
_THRESHOLDS = 20
_ENOUGH = 50
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence lies in (low, high]: how sure they were and how often right; None when empty."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Selection:
    """What happens when answers below `threshold` become `uncertain`.

    `coverage` is the share of rows answered, `accuracy` that among them; `bound` is a lower confidence bound of
    that accuracy, where one was asked for.
    """

    threshold: float
    coverage: float
    accuracy: float
    bound: float | None = None


def logits(probabilities: Floats) -> NDArray[np.float64]:
    """Logits up to a constant a row: the log of the probabilities (N, C)."""
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST))


def softmax(values: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (N, C) of logits (N, C) divided by `temperature`; above 1 it makes answers less sure."""
    scaled = np.asarray(values, np.float64) / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return scaled / scaled.sum(axis=1, keepdims=True)


def fit_temperature(values: Floats, targets: Ints) -> float:
    """The temperature that minimises the negative log-likelihood of logits (N, C) for targets (N,).

    Fit it on validation rows, never on test rows. Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
    sec. 4.2. The likelihood has one optimum in the temperature; the search stays within 0.05 to 20.
    """
    rows = np.arange(len(targets))

    def cost(log_temperature: float) -> float:
        chosen = softmax(values, math.exp(log_temperature))[rows, targets]
        return float(-np.log(np.maximum(chosen, _LEAST)).mean())

    low, high = map(math.log, _TEMPERATURES)
    return math.exp(optimize.minimize_scalar(cost, bounds=(low, high), method="bounded").x)


@dataclass(frozen=True)
class Calibrated:
    """What probabilities are made with: the temperature, the confidence below which an answer is uncertain (None: every
    one is), and the number of validation rows that both were fitted on."""

    temperature: float
    uncertain_below: float | None
    rows: int


def calibrate(
    values: Floats,
    targets: Ints,
    new: NDArray[np.bool_],
    accuracy: float,
    groups: Sequence[Hashable | None] | None = None,
) -> Calibrated:
    """Fit temperature and threshold on the logits (N, C) of validation rows that are `new` (N,) to the network.

    What training shows too says nothing of how sure to be of new pictures. Where fewer than 50 rows, and fewer than
    half, are new, all are used. `accuracy` and `groups` as `uncertain_below` has them.
    """
    chosen = np.flatnonzero(new if new.sum() >= min(_ENOUGH, len(new) / 2) else np.ones_like(new))
    temperature = fit_temperature(values[chosen], targets[chosen])
    inside = None if groups is None else [groups[row] for row in chosen.tolist()]
    sure = uncertain_below(softmax(values[chosen], temperature), targets[chosen], accuracy, groups=inside)
    return Calibrated(temperature, sure.threshold if sure else None, len(chosen))


def remarks(temperature: float, threshold: float | None, accuracy: float) -> list[str]:
    """What a reader of calibrated probabilities must know: a temperature that was cut off, a missing threshold.

    `accuracy` is what `uncertain_below` was asked for.

    >>> remarks(1.3, 0.8, 0.9), len(remarks(20.0, None, 0.9))
    ([], 2)
    """
    low, high = _TEMPERATURES
    said = []
    if not 1.01 * low < temperature < high / 1.01:
        said.append(f"the temperature ends at its bound {low if temperature < 1 else high:g}: probabilities are rough")
    if threshold is None:
        said.append(
            f"every answer counts as uncertain: at no confidence do the validation rows promise an accuracy of "
            f"{accuracy:.0%} (evaluate.answered_accuracy)"
        )
    return said


def bin_of(confidence: Floats) -> NDArray[np.int64]:
    """The bin, 0 to 14, of each confidence in 0..1; a bin includes its upper edge."""
    return np.clip(np.ceil(np.asarray(confidence, np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)


def reliability(probabilities: Floats, targets: Ints) -> list[Bin]:
    """The reliability diagram of (N, C) probabilities: mean confidence and accuracy in 15 bins."""
    confidence, right = _confidence_and_right(probabilities, targets)
    place = bin_of(confidence)
    counts = np.bincount(place, minlength=BINS)
    sure = np.bincount(place, confidence, BINS)
    hits = np.bincount(place, right, BINS)
    return [
        Bin(i / BINS, (i + 1) / BINS, int(n), float(sure[i] / n) if n else None, float(hits[i] / n) if n else None)
        for i, n in enumerate(counts)
    ]


def error_if_perfect(probabilities: Floats, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """The calibration errors (resamples,) that answers of these confidences (N, C) show when they are right as often as
    they say: not nothing, since every bin of few answers is off by chance (Bröcker & Smith 2007)."""
    confidence = np.asarray(probabilities, np.float64).max(axis=1)
    place, generator = np.eye(BINS)[bin_of(confidence)], np.random.default_rng(seed)
    step = max(1, _CELLS_AT_ONCE // len(confidence))
    starts = range(0, resamples, step)
    gaps = [
        ((generator.random((min(step, resamples - at), len(confidence))) < confidence) - confidence) @ place
        for at in starts
    ]
    return np.abs(np.concatenate(gaps)).sum(axis=1) / len(confidence) if gaps else np.empty(0)


def error_interval(value: float, drawn: NDArray[np.float64], perfect: NDArray[np.float64], count: int) -> Estimate:
    """A calibration error with a 95% interval of what it would be on endless pictures.

    Chance adds to the error of few pictures, and adds again in each of its bootstrap replicates `drawn` (B,): they are
    moved down by what the second has added, twice. Where answers that are `perfect` (B,), as `error_if_perfect` has
    them, show as much in more than one of twenty samples, the interval begins at 0. `count` independent units were
    drawn; from one no interval can be given.
    """
    if not drawn.size or not perfect.size or count < 2:
        return Estimate(value, math.nan, math.nan)
    moved = np.maximum(drawn - drawn.mean() + max(0.0, 2 * value - drawn.mean()), 0)
    low, high = np.quantile(moved, [0.025, 0.975])
    low = 0.0 if value <= np.quantile(perfect, 0.95) else min(low, value)
    return Estimate(value, float(low), float(min(1.0, max(high, value))))


def selective_curve(probabilities: Floats, targets: Ints, points: int = 50) -> list[Selection]:
    """Accuracy among the answered rows, from few answers to all of them, at about `points` confidences.

    The risk-coverage curve of Geifman & El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017,
    with accuracy in place of risk. Rows of equal confidence are answered together.
    """
    thresholds, answered, accuracy = _answered(probabilities, targets)
    share = answered / len(targets)
    wanted = np.linspace(0, 1, points + 1)[1:]
    kept = np.unique(np.minimum(np.searchsorted(share, wanted - 1e-9), len(share) - 1))
    return [Selection(float(thresholds[i]), float(share[i]), float(accuracy[i])) for i in kept]


def uncertain_below(
    probabilities: Floats,
    targets: Ints,
    accuracy: float = 0.9,
    delta: float = 0.05,
    groups: Sequence[Hashable | None] | None = None,
) -> Selection | None:
    """The confidence below which to answer `uncertain`, so that the answered rows reach `accuracy`.

    Selection with guaranteed risk after Geifman & El-Yaniv 2017, sec. 3: of twenty thresholds (every 5% of validation
    rows) the one that answers most while the exact binomial bound of its accuracy, at `delta` shared over the twenty,
    is at least `accuracy`. With probability 1 - delta new rows of the same kind, answered at or above the threshold,
    are right that often, if these rows have chosen nothing else. (Their binary search is not used: it loses its way
    when few rows make the bound loose.) Rows of one of `groups` are no independent ones: the bound is then that of
    Korn & Graubard, Survey Methodology 1998, for as many rows as say the same. None when no threshold can promise that.
    """
    confidence, right = _confidence_and_right(probabilities, targets)
    found = None
    for point in selective_curve(probabilities, targets, points=_THRESHOLDS):
        answered = confidence >= point.threshold
        inside = None if groups is None else list(compress(groups, answered))
        rows = independent(right[answered], inside)
        bound = _least_accuracy(point.accuracy * rows, rows, delta / _THRESHOLDS)
        if bound >= accuracy:
            found = replace(point, bound=bound)
    return found


def _least_accuracy(right: float, rows: float, delta: float) -> float:
    """The Clopper-Pearson lower bound of a proportion at level `delta`."""
    return float(stats.beta.ppf(delta, right, rows - right + 1)) if right else 0.0


def _answered(
    probabilities: Floats, targets: Ints
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Each distinct confidence, descending, with the number of rows at or above it and their accuracy."""
    confidence, right = _confidence_and_right(probabilities, targets)
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    last = np.flatnonzero(np.append(sorted_confidence[1:] != sorted_confidence[:-1], True))
    return sorted_confidence[last], last + 1, np.cumsum(right[order])[last] / (last + 1)


def _confidence_and_right(probabilities: Floats, targets: Ints) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values = np.asarray(probabilities, np.float64)
    return values.max(axis=1), values.argmax(axis=1) == targets
