"""What embeddings know: retrieval precision, and a map in two dimensions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from mien.errors import DataError
from mien.evaluation.report.svg import document, standalone, text
from mien.files import write_text

# Okabe and Ito's palette: eight hues that stay apart for colour-blind readers.
PALETTE = ("#D55E00", "#000000", "#009E73", "#CC79A7", "#E69F00", "#999999", "#0072B2", "#56B4E9")

LEAST = 4
"""Embeddings that a map needs at least."""

_SIDE = 520
_ROUNDING = 1e-6  # by which a network's float32 answers to one picture differ at most


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


def collapsed(embeddings: NDArray[np.float32]) -> bool:
    """Whether embeddings (N, D) tell no picture from another: all alike but for rounding, or not finite.

    >>> collapsed(np.full((3, 2), 0.7, np.float32)), collapsed(np.eye(2, dtype=np.float32))
    (True, False)
    """
    size = np.abs(embeddings).max()
    return not np.isfinite(size) or bool(np.ptp(embeddings, axis=0).max() <= _ROUNDING * size)


def flatten(embeddings: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Embeddings (N, D), N of `LEAST` or more, to map positions (N, 2): PCA to at most 50 dimensions, then t-SNE.

    Raises DataError for embeddings that have `collapsed`.

    The first step is van der Maaten and Hinton's (2008, section 4.2): it takes out noise and time.
    """
    if collapsed(embeddings):
        raise DataError("embeddings that are all alike, or not finite, have no map")
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
) -> Path | None:
    """Draw the two-dimensional map of at most `limit` embeddings (a seeded sample) as an SVG file; returns its path.

    Nothing is drawn, and None returned, where they have `collapsed`.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:limit])
    if collapsed(embeddings[rows]):
        return None
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
