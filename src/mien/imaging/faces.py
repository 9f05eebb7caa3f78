"""Faces in pictures: what a face is, and the detectors that find it."""

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.errors import unknown
from mien.imaging import models, operations
from mien.imaging.operations import Image

Box = tuple[float, float, float, float]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Face:
    """One face: `box` (x, y, width, height) in pixels, which may reach beyond the picture; `score` 0..1.

    `landmarks` (5, 2) float32 (x, y): the eye on the left of the picture, the other eye, the tip of the nose, the left
    and the right corner of the mouth; None where the detector knows none.
    """

    box: Box
    score: float = 1.0
    landmarks: Points | None = field(default=None, compare=False)

    def scaled(self, down: float, across: float) -> "Face":
        """The same face in a picture that was resized by these factors of its height and width."""
        x, y, width, height = self.box
        box = (x * across, y * down, width * across, height * down)
        marks = None if self.landmarks is None else self.landmarks * np.array([across, down], np.float32)
        return Face(box, self.score, marks)


class Detector(Protocol):
    """What finds faces: (H, W) or (H, W, 3) uint8 in, faces out, in the picture's pixels. Any thread may call it.

    The recogniser leaves out a face whose numbers are not all finite.
    """

    def __call__(self, image: Image) -> list[Face]: ...


_NONE = np.zeros(0, np.uint8)  # OpenCV asks for a second file, which this kind of network does not have


class Search(NamedTuple):
    """One search with a cascade: growth of the windows, how many must agree, the least weight of the last stage."""

    scale_factor: float
    min_neighbours: int
    min_weight: float = -math.inf


class HaarDetector:
    """The cascade of Viola and Jones (2001), `haarcascade_frontalface_default`, which OpenCV brings. Scores are 1.

    A picture is searched with its longer side at most `max_side`, for faces of a sixteenth of its shorter side and
    more, and of 36 pixels and more where it has at least four times as many. Where a search finds nothing the next one
    is tried, so that a picture without a face takes two to three times as long as one with.
    """

    # Found in 351 portraits, with boxes that YuNet does not confirm; and boxes in 352 pictures without an upright face
    # (portraits upside down, on their side, their lower thirds): first search 270, 6; 24. Both 282, 7; 29. OpenCV's own
    # (1.1, 5), at twice the time of the first: 274, 2; 23.
    def __init__(
        self, max_side: int = 640, searches: Sequence[Search] = (Search(1.2, 3), Search(1.1, 3, min_weight=2.5))
    ) -> None:
        self.max_side, self.searches = max_side, searches

    def __call__(self, image: Image) -> list[Face]:
        small, scale = _shrunk(operations.grey(image), self.max_side)
        short = min(small.shape)
        # The smallest faces take most of the time, and from so few pixels no expression is read well.
        least = max(24, short // 16, min(round(36 / scale), short // 4))
        for factor, neighbours, weight in self.searches:
            boxes, _, weights = cascade("frontalface_default").detectMultiScale3(
                small, scaleFactor=factor, minNeighbors=neighbours, minSize=(least, least), outputRejectLevels=True
            )
            found = [box for box, sure in zip(boxes, np.ravel(weights), strict=True) if sure > weight]
            if found:
                return [Face(_scaled(box, scale)) for box in found]
        return []


class YuNetDetector:
    """YuNet (Wu et al., Machine Intelligence Research 2023) through OpenCV, with landmarks.

    `path` is its .onnx file, by default the pinned one of `mien models pull yunet`. A picture is searched with its
    longer side at most `max_side`; one of more than twice that side is searched at twice the side too, for faces too
    small at the first, and one in which nothing is found at half of it, for a face that fills the picture.
    """

    def __init__(self, path: Path | None = None, max_side: int = 640, threshold: float = 0.6) -> None:
        self.max_side, self.threshold = max_side, threshold
        self._file = np.frombuffer((path or models.find("yunet")).read_bytes(), np.uint8)
        self._own = threading.local()

    def __call__(self, image: Image) -> list[Face]:
        image = operations.colour(image)
        half, scale = _shrunk(image, 2 * self.max_side)
        small, rest = _shrunk(half, self.max_side)
        found = self._search(small, scale * rest)
        if scale > 1:
            finer = self._search(half, scale)
            found += [face for face in finer if not any(overlap(face.box, other.box) > 0.3 for other in found)]
        if not found and max(small.shape) > self.max_side // 2:
            quarter, more = _shrunk(small, self.max_side // 2)
            found = self._search(quarter, scale * rest * more)
        return found

    def _search(self, small: Image, scale: float) -> list[Face]:
        """The faces in a picture that was shrunk by `scale`, in pixels of the picture before that."""
        network = self._network()
        network.setInputSize((small.shape[1], small.shape[0]))
        _, found = network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return [] if found is None else [_face(row, scale) for row in found if _lies_in(row, *small.shape[:2])]

    def _network(self) -> Any:
        # The network keeps its input size between two calls, so that threads cannot share one.
        if not hasattr(self._own, "network"):
            self._own.network = cv2.FaceDetectorYN.create("onnx", self._file, _NONE, (320, 320), self.threshold, 0.3)
        return self._own.network


def overlap(first: Box, second: Box) -> float:
    """The common area of two boxes, as a share of the smaller one."""
    across, down = (
        min(first[axis] + first[axis + 2], second[axis] + second[axis + 2]) - max(first[axis], second[axis])
        for axis in (0, 1)
    )
    area = max(0.0, across) * max(0.0, down)
    return area / max(min(first[2] * first[3], second[2] * second[3]), 1e-9)


def _lies_in(row: NDArray[np.float32], height: int, width: int) -> bool:
    """Whether a found box can be one: now and then YuNet answers numbers without bounds for a picture of few pixels."""
    x, y, wide, high = row[:4]
    return bool(
        np.isfinite(row).all()
        and 0 < wide <= 2 * width
        and 0 < high <= 2 * height
        and 0 <= x + wide / 2 <= width
        and 0 <= y + high / 2 <= height
    )


DETECTORS = ("auto", "yunet", "haar", "viola-jones")


def detector_named(name: str) -> Detector:
    """The detector `haar`, `yunet`, or `auto`: YuNet where its file is, else Haar, said once.

    `viola-jones`, which chains name, is the same cascade as OpenCV's tutorials set it: slower, and as published work
    uses it.
    """
    if settled(name) == "yunet":
        return _yunet(models.find("yunet"))
    if name == "auto":
        _say_haar()
    return _viola_jones() if name == "viola-jones" else _haar()


def settled(name: str) -> str:
    """The detector that a name means on this machine: `auto` is `yunet` or `haar`. Raises UsageError."""
    if name not in DETECTORS:
        raise unknown("face detector", name, DETECTORS)
    if name == "auto":
        return "yunet" if models.present("yunet") else "haar"
    return name


def roll(face: Face) -> float:
    """How far the line through the eyes is off level, in degrees, positive clockwise; 0 without landmarks."""
    if face.landmarks is None:
        return 0.0
    across, down = face.landmarks[1] - face.landmarks[0]
    return float(np.degrees(np.arctan2(down, across)))


def warp(image: Image, matrix: NDArray[Any], size: tuple[int, int]) -> Image:
    """The picture through an affine map (2, 3), at `size` (height, width); what lies outside repeats the border."""
    # Averaging over areas first keeps a strong reduction from aliasing, which bilinear sampling alone would do.
    reduction = 1 / max(float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))), 1e-6)
    if reduction > 2:
        height, width = (max(1, round(side * 2 / reduction)) for side in image.shape[:2])
        matrix = matrix @ np.diag([image.shape[1] / width, image.shape[0] / height, 1.0])
        image = operations.resize(image, height, width, "area")
    # The part that is seen is enough, and OpenCV warps no picture of 32,767 pixels a side.
    corners = np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]], [1, 1, 1, 1]])
    seen, last = cv2.invertAffineTransform(matrix) @ corners, np.array(image.shape[1::-1]) - 1
    left, top = np.clip(np.floor(seen.min(axis=1)) - 1, 0, last).astype(int)
    right, bottom = np.clip(np.ceil(seen.max(axis=1)) + 1, 0, last).astype(int)
    part, of_part = image[top : bottom + 1, left : right + 1], matrix @ [[1, 0, left], [0, 1, top], [0, 0, 1]]
    moved = cv2.warpAffine(
        np.ascontiguousarray(part), of_part, size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def largest(faces: list[Face]) -> Face | None:
    """The face with the largest box, or None."""
    return max(faces, key=lambda face: face.box[2] * face.box[3], default=None)


_CASCADES = Path(cv2.__file__).parent / "data"
_of_thread = threading.local()


def cascade(name: str) -> Any:
    """One of the Haar cascades that OpenCV brings; each thread has its own, as they are not safe to share."""
    own = _of_thread.__dict__
    if name not in own:
        own[name] = cv2.CascadeClassifier(str(_CASCADES / f"haarcascade_{name}.xml"))
    return own[name]


@lru_cache
def _yunet(path: Path) -> Detector:
    return YuNetDetector(path)


@lru_cache
def _haar() -> Detector:
    return HaarDetector()


@lru_cache
def _viola_jones() -> Detector:
    return HaarDetector(searches=[Search(1.1, 5)])


@lru_cache
def _say_haar() -> None:
    logging.getLogger("mien").warning(
        "faces are found with OpenCV's Haar cascade; YuNet is better: mien models pull yunet"
    )


def _shrunk(image: Image, max_side: int) -> tuple[Image, float]:
    """The picture with its longer side at most `max_side`, and what its coordinates must be multiplied by."""
    scale = max(image.shape[:2]) / max_side
    if scale <= 1:
        return np.ascontiguousarray(image), 1.0
    height, width = (max(1, round(side / scale)) for side in image.shape[:2])
    return operations.resize(image, height, width, "area"), scale


def _scaled(box: Any, scale: float) -> Box:
    x, y, width, height = (float(value) * scale for value in box)
    return x, y, width, height


def _face(row: NDArray[np.float32], scale: float) -> Face:
    return Face(_scaled(row[:4], scale), min(1.0, float(row[14])), (row[4:14] * scale).reshape(5, 2))
