"""The audit itself: every check over one dataset and its split, and the result as a value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.audit import people, quality, twins
from mien.data.audit.findings import Finding, by_severity
from mien.data.audit.looks import Looks
from mien.data.audit.near import NEAR
from mien.data.audit.twins import Likeness
from mien.data.samples import Samples
from mien.stages import Progress


@dataclass(frozen=True)
class Audit:
    """What was found in a dataset under its split. `exact` and `near` are counts; `likeness` says who is like whom."""

    images: int
    exact: dict[str, Any]
    near: dict[str, Any]
    blank: int
    subjects_across_splits: int
    findings: tuple[Finding, ...]
    likeness: Likeness

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that stop the work."""
        return tuple(finding for finding in self.findings if finding.severity == "block")

    def found(self, more: Sequence[Finding]) -> "Audit":
        """The same audit with further findings."""
        return replace(self, findings=by_severity([*self.findings, *more]))

    def strict(self) -> "Audit":
        """The same audit where every leak blocks, whoever caused it."""
        return replace(self, findings=by_severity(
            [replace(finding, severity="block") if finding.leak else finding for finding in self.findings]
        ))  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """The JSON document of `mien audit --json` and of `audit.json`."""
        return {
            "images": self.images,
            "exact": self.exact,
            "near": self.near,
            "blank": self.blank,
            "subjects_across_splits": self.subjects_across_splits,
            "findings": [finding.as_dict() for finding in self.findings],
        }


def audit(
    samples: Samples,
    looks: Looks,
    *,
    parents: NDArray[np.int64] | None = None,
    promised: Sequence[str] = (),
    threshold: float = NEAR,
    noise: bool = False,
    probabilities: NDArray[np.floating] | None = None,
    method: str = "predictions given",
    progress: Progress | None = None,
) -> Audit:
    """Audit a dataset under the split its table holds; `looks` has one look a row.

    `parents` (N, k) are the rows made rows come from, where the table's `parent` column does not say all; `promised`
    names the columns (subject, sequence) that the split keeps whole; near twins count from similarity `threshold` on.
    `noise` adds label noise suspects, from out-of-sample `probabilities` (N, classes) of the named `method` if given.
    `progress` hears of the pairs that are compared.
    """
    likeness = twins.liken(looks, threshold, progress)
    found = [*twins.findings(samples, likeness, "exact"), *twins.findings(samples, likeness, "near")]
    found += people.findings(samples, promised) + people.children(samples, parents)
    found += quality.findings(samples, looks) + quality.balance(samples)
    if noise or probabilities is not None:
        # cleanlab takes longer to import than the rest of the audit takes to run on most data.
        from mien.data.audit.noise import suspects

        found += suspects(samples, looks, _inseparable(samples, likeness), probabilities, method)
    return Audit(
        images=len(samples),
        exact=twins.figures(samples, likeness, "exact"),
        near=twins.figures(samples, likeness, "near"),
        blank=len(quality.blanks(looks)),
        subjects_across_splits=len(people.shared(samples, "subject")),
        findings=by_severity(found),
        likeness=likeness,
    )


def clean_train(samples: Samples, audit: Audit) -> NDArray[np.int64]:
    """Positions of the training rows to drop for `split.clean: train`: those with a twin in validation or test."""
    judged = np.isin(samples.table["split"].to_numpy(object), ["validation", "test"])
    twin = audit.likeness.twin_in(judged)
    train = samples.rows("train")
    return train[twin[train]]


def _inseparable(samples: Samples, likeness: Likeness) -> NDArray[np.int64]:
    """A number a row: one for each subject where the data names all of them, else one for each group of twins."""
    subject = samples.table["subject"]
    if subject.notna().all():
        return np.asarray(subject.astype("category").cat.codes, np.int64)
    return likeness.together()
