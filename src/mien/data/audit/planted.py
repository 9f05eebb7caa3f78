"""The transformations that make a near twin: what the audit learns to see through, and is measured against."""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Transformation = Callable[[Image, np.random.Generator], Image]


def resized(image: Image, rng: np.random.Generator) -> Image:
    """0.5 to 2 times the size, by area, linear or cubic interpolation."""
    factor = rng.uniform(0.5, 2.0)
    size = [max(8, round(side * factor)) for side in image.shape[1::-1]]
    method = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[rng.integers(3)]
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def recompressed(image: Image, rng: np.random.Generator) -> Image:
    """JPEG at quality 50 to 95."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def mirrored(image: Image, rng: np.random.Generator) -> Image:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def relit(image: Image, rng: np.random.Generator) -> Image:
    """Contrast times 0.8 to 1.2, brightness plus -30 to 30, clipped to 8 bits."""
    return np.clip(image.astype(np.float32) * rng.uniform(0.8, 1.2) + rng.uniform(-30, 30), 0, 255).astype(np.uint8)


def cropped(image: Image, rng: np.random.Generator) -> Image:
    """Up to 8% of the height and of the width cut away, anywhere around the picture."""
    return _cut(image, rng.uniform(0, 0.08), rng)


def cropped_closely(image: Image, rng: np.random.Generator) -> Image:
    """8 to 20% cut away: no lesson of the descriptor, but what many natural twins are."""
    return _cut(image, rng.uniform(0.08, 0.2), rng)


def several(image: Image, rng: np.random.Generator, mirror: bool = True) -> Image:
    """Cropped, relit, resized and recompressed, and every second time mirrored as well where `mirror` allows it."""
    for change in (cropped, relit, resized, recompressed):
        image = change(image, rng)
    return mirrored(image, rng) if mirror and rng.random() < 0.5 else image


TRANSFORMATIONS: Mapping[str, Transformation] = {
    "resized": resized,
    "recompressed": recompressed,
    "mirrored": mirrored,
    "relit": relit,
    "cropped": cropped,
    "several": several,
}


def _cut(image: Image, share: float, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    top, left = rng.uniform(0, share, 2)
    bottom, right = share - top, share - left
    return image[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]
