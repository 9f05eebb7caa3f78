"""How good a set of predictions is: every figure with an interval."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.errors import DataError
from mien.evaluation.calibration import BINS, bin_of, error_if_perfect, error_interval, reliability, selective_curve
from mien.evaluation.statistics import Estimate, interval, proportion, resampled_sums, units, wilson

Floats = NDArray[np.float64]

METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "macro_f1": "Macro F1",
    "weighted_precision": "Weighted precision",
    "weighted_recall": "Weighted recall",
    "weighted_f1": "Weighted F1",
    "top2_accuracy": "Top-2 accuracy",
    "nll": "Neg. log-likelihood",
    "ece": "Calibration error",
}
"""Every figure of `evaluate` and the name to print for it."""

_LEAST = 1e-12
_SHARES = ("accuracy", "weighted_recall", "top2_accuracy")  # of all rows


def limits(name: str) -> tuple[float, float]:
    """Between which values a figure of `METRICS` lies: all are shares of one but the log loss."""
    return (0, math.inf if name == "nll" else 1)


def evaluate(
    probabilities: ArrayLike,
    targets: ArrayLike,
    labels: Sequence[str],
    bootstrap: int = 1000,
    seed: int = 0,
    groups: Sequence[Hashable | None] | None = None,
) -> dict[str, Any]:
    """Every figure of `METRICS`, per class and overall, with 95% intervals, as one JSON-able dictionary.

    `probabilities` (N, C) float, rows summing to 1; `targets` (N,) int in 0..C-1; `labels` C names. With `groups`
    (N names, e.g. subjects) whole groups are resampled. `bootstrap=0` gives no intervals (bounds are None). Shares of
    rows (accuracy, top-2, recall and precision of a class) have Wilson's interval for as many rows as the groups are
    worth, since the bootstrap gives too short a one near 1; the others have that of `bootstrap` resamples.

    Conventions are scikit-learn's with `zero_division=0`, and macro averages run over the classes that have rows.
    The keys: `rows`; `labels`; `metrics` {name: {value, low, high}}; `per_class` a list of {label, support,
    precision, recall, f1}; `confusion` counts [true][predicted]; `calibration` {bins, selective, perfect}, the last the
    `mean` and the 95th percentile (`most`) of the calibration error that perfect answers would show. Raises DataError
    for shapes that do not fit, targets outside the classes, and rows that are not probabilities.
    """
    p, y = _checked(probabilities, targets, labels)
    classes, columns = len(labels), _columns(p, y)
    whole = _figures(columns.sum(axis=0, keepdims=True), classes)
    drawn = _figures(resampled_sums(columns, bootstrap, seed, groups), classes)

    perfect, predicted = error_if_perfect(p, bootstrap, seed), p.argmax(axis=1)
    right, shown = predicted == y, [y == i for i in range(classes)]

    def inside(rows: NDArray[np.bool_]) -> Sequence[Hashable | None] | None:
        return None if groups is None else [groups[row] for row in np.flatnonzero(rows).tolist()]

    held = [units(int(rows.sum()), inside(rows)) for rows in shown]
    count, unseen = units(len(y), groups), float(np.mean([wilson(0, held[i]).high for i in set(y.tolist())]))
    mistaken = _with_mistakes(p, wilson(0, count).high) if right.all() else {}

    def share(hits: NDArray[np.bool_], of: NDArray[np.bool_], value: float) -> Estimate:
        told = bootstrap and of.any() and math.isfinite(value)
        return proportion(hits[of], inside(of)) if told else Estimate(value, math.nan, math.nan)

    def estimate(name: str) -> dict[str, float | None]:
        value = float(whole[name][0])
        if name in _SHARES:
            return share(_top2(p, y) if name == "top2_accuracy" else right, np.ones_like(right), value).as_dict()
        if name == "ece":
            told = error_interval(value, drawn[name], perfect, count)
        else:
            within = None if name == "nll" else (0, 1)
            told = interval(
                value, drawn[name], count, within, unseen if name.startswith(("macro", "balanced")) else None
            )
        return replace(told, high=max(told.high, mistaken.get(name, told.high))).as_dict()

    def of_class(name: str, i: int) -> dict[str, float | None]:
        value = float(whole[f"class_{name}"][0, i])
        if name in ("precision", "recall"):
            return share(right, shown[i] if name == "recall" else predicted == i, value).as_dict()
        return interval(value, drawn[f"class_{name}"][:, i], held[i], within=(0, 1)).as_dict()

    confusion = columns[:, : classes * classes].sum(axis=0).reshape(classes, classes).astype(int)
    per_class = [
        {"label": label, "support": int(confusion[i].sum())}
        | {name: of_class(name, i) for name in ("precision", "recall", "f1")}
        for i, label in enumerate(labels)
    ]
    return {
        "rows": len(y),
        "labels": list(labels),
        "metrics": {name: estimate(name) for name in METRICS},
        "per_class": per_class,
        "confusion": confusion.tolist(),
        "calibration": {
            "bins": [asdict(each) for each in reliability(p, y)],
            "selective": [asdict(each) for each in selective_curve(p, y)],
            "perfect": {"mean": perfect.mean(), "most": np.quantile(perfect, 0.95)} if bootstrap else None,
        },
    }


def _checked(probabilities: ArrayLike, targets: ArrayLike, labels: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    p, y = np.asarray(probabilities, np.float64), np.asarray(targets, np.int64)
    if p.ndim != 2 or p.shape != (len(y), len(labels)) or not len(y):
        raise DataError(
            "probabilities do not fit the targets and labels", got=p.shape, allowed=f"({len(y)} > 0, {len(labels)})"
        )
    if y.min() < 0 or y.max() >= len(labels):
        raise DataError("targets outside the label set", got=sorted(set(y.tolist())), allowed=f"0..{len(labels) - 1}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise DataError("rows of probabilities must be finite, at least 0 and sum to 1")
    return p, y


def _columns(p: Floats, y: NDArray[np.int64]) -> Floats:
    """The quantities whose sums give every figure: confusion cells, top-2 hits, log losses, calibration bins."""
    rows, classes = np.arange(len(y)), p.shape[1]
    predicted, confidence, true = p.argmax(axis=1), p.max(axis=1), p[rows, y]
    gaps = np.zeros((len(y), BINS))
    gaps[rows, bin_of(confidence)] = (predicted == y) - confidence
    return np.column_stack(
        [confusion_cells(predicted, y, classes), _top2(p, y), -np.log(np.maximum(true, _LEAST)), gaps]
    )


def _with_mistakes(p: Floats, share: float) -> dict[str, float]:
    """Log loss and calibration error of answers that are all right, were what came second true of a share of them."""
    ordered = np.maximum(np.sort(p, axis=1), _LEAST)
    best, second = ordered[:, -1], ordered[:, max(0, p.shape[1] - 2)]
    loss = (1 - share) * np.log(best) + share * np.log(second)
    return {"nll": -float(loss.mean()), "ece": abs(float(best.mean()) - (1 - share))}


def _top2(p: Floats, y: NDArray[np.int64]) -> NDArray[np.bool_]:
    true = p[np.arange(len(y)), y][:, None]
    ahead = (p > true) | ((p == true) & (np.arange(p.shape[1]) < y[:, None]))
    return ahead.sum(axis=1) < 2


def _figures(sums: Floats, classes: int) -> dict[str, Floats]:
    """Every figure from sums of `_columns` (B, F): (B,) each, and (B, C) for the `class_` ones."""
    cells, (top2, loss), gaps = sums[:, : classes**2], sums[:, classes**2 : classes**2 + 2].T, sums[:, classes**2 + 2 :]
    rows = cells.sum(axis=1)
    return of_confusions(cells, classes) | {
        "top2_accuracy": top2 / rows,
        "nll": loss / rows,
        "ece": np.abs(gaps).sum(axis=1) / rows,
    }


def confusion_cells(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> Floats:
    """The cell of the confusion matrix, true class by predicted class, that each of N rows counts in: (N, classes²)."""
    cells = np.zeros((len(targets), classes**2))
    cells[np.arange(len(targets)), targets * classes + predicted] = 1
    return cells


def of_confusions(cells: Floats, classes: int) -> dict[str, Floats]:
    """The figures of confusion matrices, sums of `confusion_cells` (B, classes²): (B,) each, (B, C) for the `class_`
    ones."""
    confusion = cells.reshape(-1, classes, classes)
    hits, support = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2)
    rows, given = support.sum(axis=1), confusion.sum(axis=1)
    there = np.where(support > 0, 1.0, np.nan)
    precision = there * hits / np.maximum(given, 1)
    recall = there * hits / np.maximum(support, 1)
    f1 = there * 2 * hits / np.maximum(given + support, 1)
    weight = support / rows[:, None]

    def macro(values: Floats) -> Floats:
        return np.nansum(values, axis=1) / (support > 0).sum(axis=1)

    def weighted(values: Floats) -> Floats:
        return np.nansum(values * weight, axis=1)

    return {
        "accuracy": hits.sum(axis=1) / rows,
        "balanced_accuracy": macro(recall),
        "macro_precision": macro(precision),
        "macro_recall": macro(recall),
        "macro_f1": macro(f1),
        "weighted_precision": weighted(precision),
        "weighted_recall": weighted(recall),
        "weighted_f1": weighted(f1),
        "class_precision": precision,
        "class_recall": recall,
        "class_f1": f1,
    }
