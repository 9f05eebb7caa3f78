"""The crop that shows a face as the training pictures show theirs: its geometry, measured on such pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import UsageError
from mien.imaging import operations
from mien.imaging.faces import Detector, Face, Points, largest, roll, warp
from mien.imaging.operations import Image


@dataclass(frozen=True)
class Framing:
    """Where the square crop lies around a face; the defaults are FER2013's own, measured by `benchmarks/framing.py`.

    With landmarks (YuNet): `scale` is the side of the crop in widths of the box, `eyes` the height of the eye line in
    it, from the top, in sides. Without (Haar): `haar_scale` is the side in sides of the box, `haar_shift` how far the
    crop's centre lies below the box's, in sides. A face whose eyes are more than `upright` degrees off level is turned
    until they are level; 180 turns none. The width of its box is then what its landmarks say that it would be upright.
    """

    # Measured on 2,000 training pictures, enlarged three times inside a border as wide as themselves (1,821 faces):
    # YuNet's box is 0.75 frames wide (quartiles 0.69 to 0.80), the eyes lie 0.39 below the top edge (0.36 to 0.42) and
    # 0.35 apart, and 95% of the faces roll by less than 12 degrees. Haar answers there with the edges of the frame, so
    # its box is measured on 270 whole portraits: YuNet's box is 0.94 of it wide, the eyes are 0.42 of it apart and
    # 0.38 below its top edge, which makes a frame 1.25 Haar boxes wide.
    scale: float = 1.34
    eyes: float = 0.39
    haar_scale: float = 1.25
    haar_shift: float = 0.01
    upright: float = 12.0

    def __post_init__(self) -> None:
        limits = {
            "scale": (0.1, 10),
            "haar_scale": (0.1, 10),
            "eyes": (0, 1),
            "haar_shift": (-1, 1),
            "upright": (0, 180),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(
                    f"framing {name} is out of range", got=getattr(self, name), allowed=f"from {low} to {high}"
                )


FER2013 = Framing()


_ENLARGED, _LONGEST = 144, 4
_BOX_OF_HAAR = 1.34 / 1.25
"""Widths of a Haar box in a box of YuNet, and where the eyes lie in it, from its top; see the note in `Framing`."""
_EYES_OF_HAAR = 0.378
_APART, _TO_MOUTH = 0.466, 0.512
"""How far the eyes of an upright face are apart, and the mouth from them, in widths of YuNet's box.

Both are such that the larger of the two answers is right in the median of 334 portraits: turning the head to a side
shortens the first alone, nodding the second.
"""


def measured(pictures: Iterable[Image], yunet: Detector) -> tuple[Framing | None, int]:
    """How training pictures frame their faces, and in how many of them a face was found; None below ten.

    `yunet` is a detector that gives landmarks. Pictures are enlarged inside a border as wide as themselves, so that it
    sees a face in a picture; the framing is the median over the pictures with one.
    """
    faces = (in_frame(picture, yunet) for picture in pictures)
    found = [
        (face.box[2], face.landmarks[:2, 1].mean()) for face in faces if face is not None and face.landmarks is not None
    ]
    if len(found) < 10:
        return None, len(found)
    width, height = np.median(found, axis=0)
    scale, eyes = float(np.clip(1 / width, 0.1, 10)), float(np.clip(height, 0, 1))
    haar = float(np.clip(scale / _BOX_OF_HAAR, 0.1, 10))
    shift = float(np.clip(0.5 - eyes - (0.5 - _EYES_OF_HAAR) / haar, -1, 1))
    return Framing(round(scale, 2), round(eyes, 2), round(haar, 2), round(shift, 2)), len(found)


def in_frame(picture: Image, yunet: Detector) -> Face | None:
    """The largest face of a picture that shows little else, in units of its height and width.

    It is looked for as `measured` says. None where none is found, or the picture is more than four times as long as
    wide.
    """
    height, width = picture.shape[:2]
    if max(height, width) > _LONGEST * min(height, width):
        return None
    larger = _ENLARGED / min(height, width)
    high, wide = round(height * larger), round(width * larger)
    large = operations.resize(operations.colour(picture), high, wide)
    bordered = np.asarray(cv2.copyMakeBorder(large, high, high, wide, wide, cv2.BORDER_REPLICATE), np.uint8)
    face = largest(yunet(bordered))
    if face is None:
        return None
    x, y, *size = face.box
    marks = None if face.landmarks is None else face.landmarks - np.array([wide, high], np.float32)
    return Face((x - wide, y - high, size[0], size[1]), face.score, marks).scaled(1 / high, 1 / wide)


def frame(image: Image, face: Face, framing: Framing = FER2013) -> Image:
    """The square crop of a face, (S, S) or (S, S, 3) uint8; where it leaves the picture, the border repeats."""
    side, middle = _frame(face, framing)
    turned = abs(roll(face)) > framing.upright
    if not turned:
        left, top = middle - side / 2
        return operations.crop(image, (round(left), round(top), round(side), round(side)))
    turn: NDArray[Any] = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), roll(face), 1.0)
    turn[:, 2] += side / 2 - middle
    return warp(image, turn, (round(side), round(side)))


def _frame(face: Face, framing: Framing) -> tuple[float, NDArray[np.float64]]:
    """The side of the crop and its centre (x, y), in pixels of the picture."""
    x, y, width, height = face.box
    if face.landmarks is None:
        side = max(1.0, framing.haar_scale * width)
        return side, np.array([x + width / 2, y + height / 2 + framing.haar_shift * side])
    # Across, the box is steadier than the eyes, which move as the head turns; down, the eyes are.
    eyes = face.landmarks[:2].mean(axis=0)
    if abs(roll(face)) <= framing.upright:
        side = max(1.0, framing.scale * width)
        return side, np.array([x + width / 2, eyes[1] + (0.5 - framing.eyes) * side])
    side = max(1.0, framing.scale * _upright_width(face.landmarks))
    angle = np.radians(roll(face))
    return side, eyes + (0.5 - framing.eyes) * side * np.array([-np.sin(angle), np.cos(angle)])


def _upright_width(landmarks: Points) -> float:
    """The width that a face's box would have upright: that of a rolled face is larger, by a fifth at 30 degrees."""
    first, second, _, *mouth = landmarks
    apart, to_mouth = second - first, np.mean(mouth, axis=0) - (first + second) / 2
    return max(float(np.hypot(*apart)) / _APART, float(np.hypot(*to_mouth)) / _TO_MOUTH)
