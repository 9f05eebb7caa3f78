"""What embeddings know: three readouts, retrieval precision, and a map in two dimensions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from mien.errors import DataError
from mien.evaluation.report.svg import document, standalone, text
from mien.files import write_text

Readout = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# Okabe and Ito's palette: eight hues that stay apart for colour-blind readers.
PALETTE = ("#D55E00", "#000000", "#009E73", "#CC79A7", "#E69F00", "#999999", "#0072B2", "#56B4E9")

_SIDE = 520


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


def precision_at(
    queries: NDArray[np.float32],
    query_targets: NDArray[np.int64],
    gallery: NDArray[np.float32],
    gallery_targets: NDArray[np.int64],
    ks: Sequence[int] = (1, 5, 10),
) -> dict[int, float]:
    """Retrieval precision@k: the share of a query's k nearest gallery pictures that carry its label, over queries.

    Gallery and queries are different pictures. A `k` above the gallery's size raises DataError.

    >>> gallery = np.array([[0, 1], [0.1, 1], [1, 0]], np.float32)
    >>> precision_at(np.array([[0, 1]], np.float32), np.array([0]), gallery, np.array([0, 1, 1]), ks=(1, 2))
    {1: 1.0, 2: 0.5}
    """
    if max(ks) > len(gallery):
        raise DataError("retrieval asks for more neighbours than the gallery holds", got=max(ks), allowed=len(gallery))
    nearest = NearestNeighbors(n_neighbors=max(ks), algorithm="brute").fit(gallery)
    hits = gallery_targets[nearest.kneighbors(queries, return_distance=False)] == query_targets[:, None]
    return {k: float(hits[:, :k].mean()) for k in ks}


def flatten(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Embeddings (N, D), N of 4 or more, to map positions (N, 2): PCA to at most 50 dimensions, then t-SNE.

    The first step is van der Maaten and Hinton's (2008, section 4.2): it takes out noise and time.
    """
    reduced = PCA(min(50, *embeddings.shape), random_state=seed).fit_transform(embeddings)
    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(reduced)


def draw_map(
    embeddings: NDArray[np.float32],
    targets: NDArray[np.int64],
    labels: Sequence[str],
    path: Path,
    limit: int = 2000,
    seed: int = 0,
) -> Path:
    """Draw the two-dimensional map of at most `limit` embeddings (a seeded sample) as an SVG file; returns its path."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:limit])
    shown, positions = targets[rows], flatten(embeddings[rows], seed)
    centre, reach = positions.mean(axis=0), np.abs(positions - positions.mean(axis=0)).max() or 1
    x, y = ((_SIDE / 2) + (positions - centre).T / reach * (_SIDE / 2 - 8)).round(1)
    marks = [
        f'<circle cx="{x[row]}" cy="{y[row]}" r="2.6" fill="{PALETTE[shown[row] % len(PALETTE)]}" fill-opacity="0.75"/>'
        for row in range(len(rows))
    ]
    for code, label in enumerate(labels):
        top = 24 + 22 * code
        marks.append(f'<circle cx="{_SIDE + 16}" cy="{top}" r="5" fill="{PALETTE[code % len(PALETTE)]}"/>')
        marks.append(text(_SIDE + 28, top + 4, f"{label} ({np.sum(shown == code):,})", ""))
    title = f"{len(rows):,} embeddings in two dimensions, by expression"
    write_text(path, standalone(document(_SIDE + 150, _SIDE, marks, title)))
    return path


def _check_classes(targets: NDArray[np.int64], classes: int) -> None:
    absent = sorted(set(range(classes)) - set(np.unique(targets).tolist()))
    if absent:
        raise DataError(
            "a readout needs training embeddings of every class",
            got=f"none of class {absent}",
            allowed="one or more each",
        )
