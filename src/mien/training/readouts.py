"""Classes read out of embeddings: by nearest class mean, nearest neighbours, or a linear head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mien.errors import DataError

Readout = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class LinearReadout:
    """Class probabilities from a linear layer: `weight` (C, D), `bias` (C,), float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings (N, D) to probabilities float32 (N, C)."""
        logits = embeddings @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class NeighbourReadout:
    """Class probabilities from the `k` nearest of the training embeddings, weighted by inverse distance."""

    model: KNeighborsClassifier

    def __call__(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings (N, D) to probabilities float32 (N, C)."""
        return self.model.predict_proba(embeddings).astype(np.float32)


def nearest_centroid(embeddings: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> LinearReadout:
    """The readout whose answer is the nearest class mean.

    Its probabilities are those of Gaussian classes with equal priors and one shared spherical variance, which makes
    squared distance to the means linear in the embedding. Raises DataError for a class without embeddings.
    """
    _check_classes(targets, classes)
    means = np.stack([embeddings[targets == code].mean(axis=0, dtype=np.float64) for code in range(classes)])
    variance = max(float(np.mean((embeddings - means[targets]) ** 2)), 1e-6)
    middle = means.mean(axis=0)  # distances to the means less a common part: small weights, exact in float32
    weight = (means - middle) / variance
    bias = -((means**2).sum(axis=1) - (middle**2).sum()) / (2 * variance)
    return LinearReadout(weight.astype(np.float32), bias.astype(np.float32))


def nearest_neighbours(
    embeddings: NDArray[np.float32], targets: NDArray[np.int64], classes: int, k: int = 15
) -> NeighbourReadout:
    """The readout by the `k` nearest training embeddings. Raises DataError for a class without embeddings."""
    _check_classes(targets, classes)
    model = KNeighborsClassifier(min(k, len(targets)), weights="distance", algorithm="brute")
    return NeighbourReadout(model.fit(embeddings, targets))


def linear_head(embeddings: NDArray[np.float32], targets: NDArray[np.int64], classes: int) -> LinearReadout:
    """Multinomial logistic regression on the embeddings. Raises DataError for a class without embeddings."""
    _check_classes(targets, classes)
    model = LogisticRegression(max_iter=1000).fit(embeddings, targets)
    weight, bias = model.coef_, model.intercept_
    if classes == 2:  # scikit-learn keeps one row for two classes: the log-odds of the second
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.append(0.0, bias)
    return LinearReadout(weight.astype(np.float32), bias.astype(np.float32))


READOUTS: Mapping[str, Callable[[NDArray[np.float32], NDArray[np.int64], int], Readout]] = {
    "centroid": nearest_centroid,
    "neighbours": nearest_neighbours,
    "linear": linear_head,
}


def _check_classes(targets: NDArray[np.int64], classes: int) -> None:
    absent = sorted(set(range(classes)) - set(np.unique(targets).tolist()))
    if absent:
        raise DataError(
            "a readout needs training embeddings of every class",
            got=f"none of class {absent}",
            allowed="one or more each",
        )
