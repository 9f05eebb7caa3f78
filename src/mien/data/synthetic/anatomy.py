"""Who a face belongs to: proportions, colours, hair, beard and glasses; and where its skin lies in space."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Points = NDArray[np.float64]

# Skin from light to dark and hair, RGB, after the Monk scale and common photographs.
_SKINS = np.array([(244, 214, 196), (232, 190, 160), (214, 164, 128), (182, 128, 92), (144, 98, 70), (108, 74, 56)])
_HAIRS = np.array([(28, 22, 20), (62, 42, 30), (110, 76, 48), (184, 146, 92), (150, 70, 40), (170, 168, 166)])
_IRISES = np.array([(60, 38, 24), (96, 66, 38), (84, 110, 84), (84, 116, 150)])


@dataclass(frozen=True)
class Identity:
    """One person. Lengths are in units of about half a face's height; y points down from between the eyes."""

    width: float
    jaw: float
    chin: float
    forehead: float
    eye_distance: float
    eye_width: float
    eye_height: float
    eye_slant: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    mouth_slant: float
    upper_lip: float
    lower_lip: float
    age: float
    skin: Colour
    hair: Colour
    iris: Colour
    lips: float
    style: Literal["bald", "short", "fringe", "long"]
    beard: Literal["none", "stubble", "moustache", "full"]
    glasses: bool


def identity(seed: int) -> Identity:
    """The person of that number: always the same face."""
    rng = np.random.Generator(np.random.PCG64([seed, 0x1D]))

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def mixed(palette: NDArray[np.int64]) -> Colour:
        place = rng.uniform(0, len(palette) - 1)
        low = int(place)
        colour = palette[low] + (palette[low + 1] - palette[low]) * (place - low) + rng.normal(0, 4, 3)
        red, green, blue = np.clip(colour, 0, 255)
        return float(red), float(green), float(blue)

    masculine = rng.random() < 0.5
    return Identity(
        width=between(0.70, 0.84),
        jaw=between(0.56, 0.74) + 0.05 * masculine,
        chin=between(0.98, 1.14),
        forehead=between(0.86, 1.02),
        eye_distance=between(0.30, 0.37),
        eye_width=between(0.145, 0.185),
        eye_height=between(0.058, 0.085),
        eye_slant=between(-0.03, 0.04),
        brow_height=between(0.19, 0.27),
        brow_thickness=between(0.028, 0.052) + 0.014 * masculine,
        brow_arch=between(0.02, 0.07),
        nose_width=between(0.13, 0.20),
        nose_length=between(0.36, 0.46),
        mouth_width=between(0.25, 0.33),
        mouth_height=between(0.60, 0.68),
        mouth_slant=between(-0.025, 0.025),
        upper_lip=between(0.035, 0.075),
        lower_lip=between(0.055, 0.10),
        age=between(0, 1) ** 2,
        skin=mixed(_SKINS),
        hair=mixed(_HAIRS),
        iris=mixed(_IRISES),
        lips=between(0.1, 0.6),
        style=("bald", "short", "fringe", "long")[int(rng.choice(4, p=(0.1, 0.4, 0.25, 0.25)))],
        beard=("none", "stubble", "moustache", "full")[
            int(rng.choice(4, p=(0.5, 0.2, 0.12, 0.18) if masculine else (1, 0, 0, 0)))
        ],
        glasses=bool(rng.random() < 0.2),
    )


def skin_depth(points: Points) -> Points:
    """How far the rounded front of the head stands out towards the viewer, (N,), at points (N, 2) of the front view."""
    x, y = points[:, 0], points[:, 1]
    return 0.85 * np.sqrt(np.maximum(1 - x * x - ((y - 0.1) / 1.5) ** 2, 0.02))


def edge_depth(points: Points) -> Points:
    """The depth of the outline of the face, (N,): the chin stands further out than the temples."""
    return 0.15 + 0.25 * np.clip(points[:, 1], 0, 1)
