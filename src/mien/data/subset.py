"""Fewer rows of a dataset, on purpose: some classes, no official test part, a stratified sample."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.data.samples import Samples
from mien.data.split import SplitSpec, assign
from mien.files import digest
from mien.labels import meant, ordered


def of_classes(samples: Samples, classes: Sequence[str]) -> Samples:
    """The rows of some classes, which become the label set; votes for the others are struck out.

    Raises UsageError for a class that the dataset does not have.
    """
    labels = ordered(meant(name, samples.labels, "class of the dataset") for name in classes)
    chosen = samples.take(samples.table["label"].isin(labels).to_numpy(bool))
    if (votes := chosen.votes) is None:
        return replace(chosen, labels=labels)
    cast = votes[:, [samples.labels.index(label) for label in labels]]
    shares = cast / cast.sum(axis=1, keepdims=True)
    return replace(chosen, labels=labels, table=chosen.table.assign(votes=list(shares)))


def without_official_test(samples: Samples) -> Samples:
    """The rows that are not in the official test part, which stays untouched for a later judgement.

    Raises DataError where the dataset has no official split.
    """
    held_out = assign(samples, SplitSpec()).rows("test")
    return samples.take(np.setdiff1d(np.arange(len(samples)), held_out))


def sampled(samples: Samples, limit: int, seed: int = 0) -> Samples:
    """At most `limit` rows, every class of every official split in its proportion; which ones follows from the seed.

    >>> from mien.data.samples import Rows, table
    >>> rows = table([f"#{i}" for i in range(90)], ["fear", "anger", "anger"] * 30, source="example")
    >>> few = sampled(Samples(rows, ("anger", "fear"), Rows(np.zeros((90, 8, 8), np.uint8), "example")), 9)
    >>> few.table["label"].value_counts().to_dict()
    {'anger': 6, 'fear': 3}
    """
    if limit >= len(samples):
        return samples
    rows = samples.table[["split", "label"]].astype(object).fillna("")
    rows["rank"] = [digest(str(seed), "sample", image) for image in samples.table["image"]]
    stratum = rows.groupby(["split", "label"])["rank"]
    # The place of a row within its stratum, 0 to 1: any first part of this order has every stratum in proportion.
    rows["place"] = (stratum.rank(method="first") - 0.5) / stratum.transform("size")
    return samples.take(np.sort(rows.sort_values(["place", "rank"]).index.to_numpy()[:limit]))
