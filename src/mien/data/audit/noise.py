"""Labels that cross-validated predictions confidently contradict."""

import warnings

import cv2
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from mien.data.audit.findings import Finding
from mien.data.audit.looks import SIDE, Looks
from mien.data.samples import Samples
from mien.errors import DataError, counted

METHOD = "logistic regression on histograms of oriented gradients, folds that keep people, or else twins, together"
FOLDS = 5

CONFIDENT = 0.5
"""How much more probable than the given label a prediction must be; docs/audit.md has what that is worth."""


def suspects(
    samples: Samples,
    looks: Looks,
    groups: NDArray[np.int64],
    probabilities: NDArray[np.floating] | None,
    method: str,
) -> list[Finding]:
    """Label noise suspects by confident learning (Northcutt et al., JAIR 2021; cleanlab), most doubtful first.

    `groups` (N,) are rows that must stay in one fold; `probabilities` (N, classes) out-of-sample predictions of a
    model to use instead of the built-in one, which `method` then names. Classes of too few rows are left out, and told.
    Raises DataError where too few classes or groups are there to cross-validate.
    """
    usable = (samples.targets >= 0) & looks.readable
    counts = np.bincount(samples.targets[usable], minlength=len(samples.labels))
    scarce = [label for label, count in zip(samples.labels, counts, strict=True) if 0 < count < FOLDS]
    rows = np.flatnonzero(usable & (counts >= FOLDS)[samples.targets])
    present, encoded = np.unique(samples.targets[rows], return_inverse=True)
    if len(present) < 2:
        raise DataError(
            f"label noise is found between two classes of {FOLDS} readable pictures or more",
            got={label: int(count) for label, count in zip(samples.labels, counts, strict=True)},
            then="bring more pictures, or leave --noise out",
        )
    if probabilities is None:
        method = METHOD
        given = _cross_validated(looks.miniatures[rows], encoded, groups[rows])
    else:
        given = np.asarray(probabilities)[np.ix_(rows, present)]
        given = given / given.sum(axis=1, keepdims=True)
    issues = find_label_issues(encoded, given, filter_by="confident_learning", n_jobs=1)
    margin = given.max(axis=1) - given[np.arange(len(given)), encoded]
    doubtful = np.flatnonzero(issues & (margin >= CONFIDENT))
    found = [Finding(
        "label-noise-unchecked", "info", len(scarce),
        f"labels of {', '.join(scarce)} were not checked: fewer than {FOLDS} readable pictures each",
        "bring more pictures of them, or look at them yourself",
    )] if scarce else []  # fmt: skip
    if not len(doubtful):
        return found
    predicted = [samples.labels[target] for target in present[given.argmax(axis=1)]]
    order = doubtful[np.argsort(get_label_quality_scores(encoded, given)[doubtful], kind="stable")]
    return [*found, Finding(
        "label-noise", "info", len(order),
        f"{counted(len(order), 'suspect label')}: predictions confidently disagree ({method})",
        "look at them on the page of --out DIR, or in its suspect-labels.csv; a weak model suspects hard pictures too",
        tuple(rows[order].tolist()),
        predicted=tuple((predicted[row], float(given[row].max())) for row in order),
    )]  # fmt: skip


def _cross_validated(
    miniatures: NDArray[np.uint8], targets: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    # Blocks of 16 pixels, 8 apart, in cells of 8: the usual proportions (Dalal & Triggs 2005) on a small face.
    gradients = cv2.HOGDescriptor((SIDE, SIDE), (16, 16), (8, 8), (8, 8), 9)
    features = np.stack(
        [np.asarray(gradients.compute(picture)).ravel() for picture in np.ascontiguousarray(miniatures)]
    )
    several, parts = len(np.unique(groups)), []
    if several > 1:
        folds = StratifiedGroupKFold(min(FOLDS, several), shuffle=True, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = list(folds.split(features, targets, groups))
    if not parts or any(len(np.unique(targets[train])) < 2 for train, _ in parts):
        raise DataError(
            "label noise is found by cross-validation over people, or over groups of twins",
            got=f"{counted(several, 'group')}, too few or too uneven for {FOLDS} folds",
            then="bring pictures of more people, or leave --noise out",
        )
    width = min(160, min(len(train) for train, _ in parts) // 8 + 1)
    model = make_pipeline(
        PCA(width, whiten=True, random_state=0), LogisticRegression(max_iter=100, C=100 / len(features))
    )
    with warnings.catch_warnings():
        # Folds of grouped rows cannot be exactly stratified, and suspects need no converged optimum.
        warnings.simplefilter("ignore")
        return np.asarray(cross_val_predict(model, features, targets, cv=parts, method="predict_proba"))
