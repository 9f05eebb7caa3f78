"""The parts of a face, as Viola-Jones studies show them: eyes, nose and mouth, and a picture of what was found."""

from collections.abc import Sequence

import cv2
import numpy as np

from mien.imaging import operations
from mien.imaging.faces import Box, Face, Points, cascade
from mien.imaging.operations import Image

PART_COLOURS = {"face": (66, 133, 244), "eye": (52, 168, 83), "nose": (251, 188, 4), "mouth": (234, 67, 53)}

_LEAST_FACE = 24


def regions(image: Image, face: Face) -> dict[str, list[Box]]:
    """Boxes (x, y, width, height) in pixels by part: `eye` (none to two, from the left), `nose`, `mouth`.

    Eyes and mouth come from the cascades that OpenCV brings, `eye` in the upper and `smile` in the lower part of the
    face. OpenCV brings none for the nose: it is laid around the landmark, and without landmarks at its usual place, the
    middle of the face. With landmarks, an eye or mouth that the cascade missed is laid around them too.
    """
    grey = operations.grey(image)
    x, y, width, height = face.box
    eyes = _eyes(grey, face.box)
    mouths = _search(grey, (x, y + 0.6 * height, width, 0.45 * height), "smile", 12, 0.25 * width)[:1]
    nose = _around(np.array([x + 0.5 * width, y + 0.58 * height]), 0.34 * width, 0.3 * height)
    if face.landmarks is not None:
        nose = _around(face.landmarks[2], 0.34 * width, 0.28 * height)
        if len(eyes) < 2:
            eyes = [_around(eye, 0.3 * width, 0.2 * height) for eye in face.landmarks[:2]]
        if not mouths:
            mouths = [_around(face.landmarks[3:].mean(axis=0), 0.55 * width, 0.25 * height)]
    return {"eye": sorted(eyes), "nose": [nose], "mouth": mouths}


def eyes_of(image: Image, face: Face) -> Points | None:
    """The middles (2, 2) of the eyes, left of the picture first; None when they are not both found."""
    if face.landmarks is not None:
        return face.landmarks[:2]
    found = sorted(_eyes(operations.grey(image), face.box))
    if len(found) < 2:
        return None
    return np.array([(x + width / 2, y + height / 2) for x, y, width, height in found], np.float32)


def draw_regions(image: Image, faces: Sequence[Face]) -> Image:
    """A copy in colour, (H, W, 3), with every face, its eyes, nose and mouth boxed, and its landmarks dotted."""
    canvas = operations.colour(image).copy()
    line = max(1, round(min(image.shape[:2]) / 240))
    for face in faces:
        _rectangle(canvas, face.box, PART_COLOURS["face"], 2 * line)
        for part, boxes in regions(image, face).items():
            for box in boxes:
                _rectangle(canvas, box, PART_COLOURS[part], line)
        for x, y in face.landmarks if face.landmarks is not None else ():
            cv2.circle(canvas, (round(float(x)), round(float(y))), line + 1, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    return canvas


def _eyes(grey: Image, face: Box) -> list[Box]:
    """What the cascade takes for the eyes in the box of a face: none to two boxes, the larger first."""
    x, y, width, height = face
    return _two(_search(grey, (x, y + 0.15 * height, width, 0.45 * height), "eye", 5, 0.15 * width))


def _search(grey: Image, area: Box, name: str, neighbours: int, least: float) -> list[Box]:
    """What a cascade finds inside an area of a picture, largest first."""
    left, top = (max(0, round(value)) for value in area[:2])
    part = grey[top : max(top, round(area[1] + area[3])), left : max(left, round(area[0] + area[2]))]
    if min(part.shape) < _LEAST_FACE // 2:
        return []
    size = max(1, round(least))
    found = cascade(name).detectMultiScale(
        np.ascontiguousarray(part), scaleFactor=1.1, minNeighbors=neighbours, minSize=(size, size // 2)
    )
    boxes = [(float(x + left), float(y + top), float(width), float(height)) for x, y, width, height in found]
    return sorted(boxes, key=lambda box: (-box[2] * box[3], box))


def _two(boxes: list[Box]) -> list[Box]:
    """The largest box and the largest one beside it."""
    if not boxes:
        return []
    first, *others = boxes
    beside = [box for box in others if abs(box[0] - first[0]) > 0.8 * first[2]]
    return [first, *beside[:1]]


def _around(middle: Points, width: float, height: float) -> Box:
    return float(middle[0]) - width / 2, float(middle[1]) - height / 2, width, height


def _rectangle(canvas: Image, box: Box, colour: tuple[int, int, int], line: int) -> None:
    x, y, width, height = (round(value) for value in box)
    cv2.rectangle(canvas, (x, y), (x + width, y + height), colour, line)
