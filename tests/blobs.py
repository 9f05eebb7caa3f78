"""Pictures that are easy to tell apart, for tests: one bright square a class, each at a place of its own."""

import numpy as np
from numpy.typing import NDArray


def blobs(count: int, classes: int = 3, side: int = 32, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noisy grey pictures uint8 (count, side, side) and their classes (count,), evenly spread."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count, dtype=np.int64) % classes
    pixels = rng.integers(0, 60, (count, side, side), dtype=np.uint8)
    step = side // classes
    for image, code in zip(pixels, targets, strict=True):
        image[code * step : (code + 1) * step, 4 : side - 4] += 150
    return pixels, targets
