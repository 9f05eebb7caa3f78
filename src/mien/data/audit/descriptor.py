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

    def describe(self, miniatures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Descriptors (2, N, WIDTH) float32 of miniatures (N, S, S) uint8, and of their mirror images."""
        found = np.empty((2, len(miniatures), self.projection.shape[1]), np.float32)
        turned = self.projection.reshape(GRID, GRID, -1)[:, ::-1].reshape(self.projection.shape)
        for start in range(0, len(miniatures), _BLOCK):
            # The mean is its own mirror image, so that turning the map is turning the pictures.
            rows = normalised(miniatures[start : start + _BLOCK]) - self.mean
            for way, projection in enumerate((self.projection, turned)):
                features = rows @ projection
                lengths = np.linalg.norm(features, axis=1, keepdims=True)
                found[way, start : start + _BLOCK] = features / (lengths + 1e-9)
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
    if isinstance(pictures, np.ndarray):
        small = _all_resized(pictures)
    else:
        small = np.array([_resized(picture.astype(np.float32), GRID) for picture in pictures])
    rows = small.reshape(len(small), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    return rows


def _all_resized(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures (N, S, S) of at least GRID pixels a side at GRID x GRID; one at a time would take four times as long."""
    side = pictures.shape[1]
    weights = _resized(np.eye(side, dtype=np.float32), side)
    across = pictures.reshape(-1, side).astype(np.float32) @ weights.T
    return np.asarray(weights @ across.reshape(-1, side, GRID), np.float32)


def _resized(picture: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(picture, (columns, GRID), interpolation=cv2.INTER_AREA), np.float32)


def _with_mirror(scatter: NDArray[np.floating]) -> NDArray[np.floating]:
    square = scatter.reshape(GRID, GRID, GRID, GRID)
    return (square + square[:, ::-1, :, ::-1]).reshape(scatter.shape) / 2
