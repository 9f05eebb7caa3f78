"""Randomly moved copies of pictures: the geometry of Keras' ImageDataGenerator on OpenCV."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.balance.steps import Augment

_BORDERS = {
    "nearest": cv2.BORDER_REPLICATE,
    "constant": cv2.BORDER_CONSTANT,
    "reflect": cv2.BORDER_REFLECT,
    "wrap": cv2.BORDER_WRAP,
}


def moved(pixels: NDArray[np.uint8], step: Augment, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A randomly moved copy of every picture; (N, H, W[, 3]) uint8 in and out."""
    matrices = _matrices(len(pixels), pixels.shape[1], pixels.shape[2], step, rng)
    border = _BORDERS[step.fill_mode]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (pixels.shape[2], pixels.shape[1])
    out = np.empty_like(pixels)
    for picture, matrix, target in zip(pixels, matrices, out, strict=True):
        target[...] = cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=border)
    return out


def _matrices(count: int, height: int, width: int, step: Augment, rng: np.random.Generator) -> NDArray[np.float64]:
    """Affine maps from made to given pixel positions about the centre, (N, 2, 3)."""

    def spread(reach: float) -> NDArray[np.float64]:
        return rng.uniform(-reach, reach, count)

    def pixels(shift: float, side: int) -> float:
        return shift * side if abs(shift) < 1 else shift

    turn, shear = np.deg2rad(spread(step.rotation_range)), np.deg2rad(spread(step.shear_range))
    across, down = spread(pixels(step.width_shift_range, width)), spread(pixels(step.height_shift_range, height))
    zoom_x, zoom_y = rng.uniform(*step.zooms, (2, count))
    mirror_x, mirror_y = (1 - 2 * rng.integers(0, 2, (2, count))).astype(float)
    zoom_x *= mirror_x if step.horizontal_flip else 1
    zoom_y *= mirror_y if step.vertical_flip else 1

    one, zero = np.ones(count), np.zeros(count)
    rotate = _stack([[np.cos(turn), -np.sin(turn), zero], [np.sin(turn), np.cos(turn), zero], [zero, zero, one]])
    shift = _stack([[one, zero, across], [zero, one, down], [zero, zero, one]])
    slant = _stack([[one, -np.sin(shear), zero], [zero, np.cos(shear), zero], [zero, zero, one]])
    zoom = _stack([[zoom_x, zero, zero], [zero, zoom_y, zero], [zero, zero, one]])
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    return (centre @ rotate @ shift @ slant @ zoom @ np.linalg.inv(centre))[:, :2]


def _stack(rows: list[list[NDArray[np.float64]]]) -> NDArray[np.float64]:
    return np.array(rows).transpose(2, 0, 1)
