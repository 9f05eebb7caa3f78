"""Labels that cross-validated predictions confidently contradict."""

import warnings

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from mien.data.audit.findings import Finding
from mien.data.audit.looks import Looks
from mien.data.samples import Samples

METHOD = "logistic regression on 96 principal components, 5 folds that keep twins and people together"
FOLDS = 5


def suspects(
    samples: Samples,
    looks: Looks,
    groups: NDArray[np.int64],
    probabilities: NDArray[np.floating] | None,
    method: str,
) -> list[Finding]:
    """Label noise suspects by confident learning (Northcutt et al., JAIR 2021; cleanlab), most doubtful first.

    `groups` (N,) are rows that must stay in one fold; `probabilities` (N, classes) out-of-sample predictions of a
    model to use instead of the built-in one, which `method` then names. No finding where a class has too few rows.
    """
    targets = samples.targets
    rows = np.flatnonzero((targets >= 0) & looks.readable)
    present, encoded, counts = np.unique(targets[rows], return_inverse=True, return_counts=True)
    if len(present) < 2 or counts.min() < FOLDS:
        return []
    if probabilities is None:
        method = METHOD
        given = _cross_validated(looks.miniatures[rows], encoded, groups[rows])
    else:
        given = np.asarray(probabilities)[np.ix_(rows, present)]
        given = given / given.sum(axis=1, keepdims=True)
    issues = find_label_issues(encoded, given, filter_by="confident_learning", n_jobs=1)
    doubtful = np.flatnonzero(issues)
    if not len(doubtful):
        return []
    order = doubtful[np.argsort(get_label_quality_scores(encoded, given)[doubtful], kind="stable")]
    return [Finding(
        "label-noise", "info", len(order),
        f"{len(order):,} labels are suspect: predictions confidently disagree ({method})",
        "look at them on the audit page; a weak model suspects hard pictures too",
        tuple(rows[order].tolist()),
    )]  # fmt: skip


def _cross_validated(
    miniatures: NDArray[np.uint8], targets: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    flat = miniatures.reshape(len(miniatures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= flat.std(axis=1, keepdims=True) + 1
    width = min(96, len(flat) // 8 + 1)
    model = make_pipeline(PCA(width, whiten=True, random_state=0), LogisticRegression(max_iter=200, C=0.01))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # Folds of grouped rows cannot be exactly stratified, and suspects need no converged optimum.
        warnings.simplefilter("ignore")
        return np.asarray(cross_val_predict(model, flat, targets, cv=folds, groups=groups, method="predict_proba"))
