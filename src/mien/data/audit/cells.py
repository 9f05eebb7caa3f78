"""Close pairs of many unit vectors, without comparing all with all: an inverted file (Sivic and Zisserman 2003)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.data.audit.align import THREADS

Vectors = NDArray[np.float32]
Found = tuple[NDArray[np.int64], NDArray[np.int64]]

_PROBES = 12
_ROUNDS = 2
_BLOCK = 8192


@dataclass(frozen=True)
class Cells:
    """Unit vectors `targets` (M, W), gathered by the nearest of the `centres` (K, W).

    Cell k holds the targets from `begins[k]` to `begins[k + 1]`; `rows` (M,) are their places in what was given.
    """

    centres: Vectors
    targets: Vectors
    rows: NDArray[np.int64]
    begins: NDArray[np.int64]


def gathered(vectors: Vectors) -> Cells:
    """The cells of unit vectors (M, W), at least one: about twice the root of their number (k-means, Lloyd 1982)."""
    count = max(1, min(len(vectors), int(2 * np.sqrt(len(vectors)))))
    centres = vectors[np.linspace(0, len(vectors) - 1, count).astype(int)]
    for _ in range(_ROUNDS):
        cell = _nearest(vectors, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, cell, vectors)
        full = np.bincount(cell, minlength=count) > 0
        centres = np.where(full[:, None], sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9), centres)
    cell = _nearest(vectors, centres)
    rows = np.argsort(cell, kind="stable")
    begins = np.searchsorted(cell[rows], np.arange(count + 1))
    return Cells(centres, vectors[rows], rows, begins)


def close(cells: Cells, queries: Vectors, threshold: float) -> Iterator[Found]:
    """Pairs of a query (Q, W) and a target, by place, whose product exceeds `threshold`; most of those there are.

    A query is compared with the targets of the cells whose centres are nearest to it.
    """

    def block(start: int) -> Found:
        some = queries[start : start + _BLOCK]
        probes = min(_PROBES, len(cells.centres))
        nearest = np.argpartition(some @ cells.centres.T, -probes, axis=1)[:, -probes:]
        order = np.argsort(nearest.ravel(), kind="stable")
        asked, ends = order // probes, np.searchsorted(nearest.ravel()[order], np.arange(len(cells.centres) + 1))
        pairs = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for cell in np.flatnonzero(np.diff(ends)):
            ask, inside = asked[ends[cell] : ends[cell + 1]], slice(cells.begins[cell], cells.begins[cell + 1])
            query, target = np.nonzero(some[ask] @ cells.targets[inside].T > threshold)
            pairs.append((ask[query] + start, cells.rows[inside][target]))
        left, right = zip(*pairs, strict=True)
        return np.concatenate(left), np.concatenate(right)

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(block, range(0, len(queries), _BLOCK))


def _nearest(vectors: Vectors, centres: Vectors) -> NDArray[np.int64]:
    blocks = range(0, len(vectors), _BLOCK)
    return np.concatenate([(vectors[i : i + _BLOCK] @ centres.T).argmax(axis=1) for i in blocks])
