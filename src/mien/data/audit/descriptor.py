"""A short descriptor under which a picture and its altered copies stay together and different faces fall apart."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from mien.data.audit.planted import several

GRID = 24
WIDTH = 40
_LESSONS, _LESSONS_EACH = 6000, 10
_BLOCK = 8192


@dataclass(frozen=True)
class Descriptor:
    """A linear map from the normalised GRID x GRID picture to WIDTH numbers of unit length."""

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    def describe(self, miniatures: NDArray[np.uint8], mirrored: bool = False) -> NDArray[np.float32]:
        """Descriptors (N, WIDTH) float32 of miniatures (N, S, S) uint8, or of their mirror images."""
        found = np.empty((len(miniatures), self.projection.shape[1]), np.float32)
        for start in range(0, len(miniatures), _BLOCK):
            block = miniatures[start : start + _BLOCK]
            features = (normalised(block[:, :, ::-1] if mirrored else block) - self.mean) @ self.projection
            found[start : start + _BLOCK] = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-9)
        return found


def learn(miniatures: NDArray[np.uint8], seed: int = 0) -> Descriptor:
    """The linear discriminant between pictures, given what alteration does within one (Fisher 1936).

    The scatter within comes from altered copies of the data set's own pictures, so no label is needed.
    Both scatters are averaged with their mirror images; a mirrored copy then lies as near as a plain one.
    """
    rng = np.random.default_rng(seed)
    chosen = miniatures[np.sort(rng.permutation(len(miniatures))[:_LESSONS])]
    originals = normalised(chosen)
    lessons = rng.integers(0, len(chosen), min(_LESSONS, _LESSONS_EACH * len(chosen)))
    change = normalised([several(chosen[i], rng, mirror=False) for i in lessons]) - originals[lessons]
    within = _with_mirror(change.T @ change / len(change))
    within += 0.1 * np.trace(within) / len(within) * np.eye(len(within), dtype=np.float32)
    mean = originals.mean(axis=0)
    mean = (mean + mean.reshape(GRID, GRID)[:, ::-1].ravel()) / 2
    between = _with_mirror(np.cov(originals, rowvar=False))
    _, directions = eigh(between, within, subset_by_index=[len(within) - WIDTH, len(within) - 1])
    return Descriptor(mean.astype(np.float32), directions.astype(np.float32))


def normalised(pictures: NDArray[np.uint8] | list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Grey pictures as rows (N, GRID * GRID) float32 of zero mean and unit length: brightness and contrast are gone."""
    small = [cv2.resize(np.ascontiguousarray(p), (GRID, GRID), interpolation=cv2.INTER_AREA) for p in pictures]
    rows = np.asarray(small, np.float32).reshape(len(small), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    return rows


def _with_mirror(scatter: NDArray[np.floating]) -> NDArray[np.floating]:
    square = scatter.reshape(GRID, GRID, GRID, GRID)
    return (square + square[:, ::-1, :, ::-1]).reshape(scatter.shape) / 2
