"""Pictures with boxes, names and a probability strip drawn on them."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import cv2
import numpy as np

from mien.errors import UsageError
from mien.imaging.operations import Image, check, colour
from mien.runtime.results import FaceResult

RGB = tuple[int, int, int]

_COLOURS: Mapping[str, RGB] = {
    "anger": (214, 39, 40), "contempt": (140, 86, 75), "disgust": (82, 145, 60), "fear": (126, 87, 194),
    "happiness": (245, 176, 39), "neutral": (144, 151, 160), "sadness": (49, 111, 191), "surprise": (38, 187, 190),
}  # fmt: skip
_FURTHER: Sequence[RGB] = (
    (227, 119, 194), (161, 202, 72), (255, 127, 80), (20, 110, 105), (196, 156, 222), (120, 94, 20), (255, 221, 120),
    (90, 200, 250),
)  # fmt: skip
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_NAME = 150  # pixels that a long name takes at the smallest size that can be read
_DARK, _LIGHT = (24, 24, 28), (250, 250, 250)


def colours(labels: Sequence[str]) -> dict[str, RGB]:
    """What each label is drawn in: an expression always in the same colour, names of one's own in further ones in turn.

    >>> colours(("anger", "pain"))
    {'anger': (214, 39, 40), 'pain': (227, 119, 194)}
    """
    further = cycle(_FURTHER)
    return {label: _COLOURS.get(label) or next(further) for label in labels}


def annotate(image: Image, faces: Sequence[FaceResult], labels: Sequence[str]) -> Image:
    """A copy of a grey or RGB picture, uint8, with its faces marked; RGB, a legend's height taller.

    Each face has a box in its expression's colour, its number, expression and probability above, and below it a
    strip shared out among the expressions by probability. A question mark stands for an uncertain answer. Raises
    UsageError for what is no picture, and where the faces were answered with other labels.
    """
    check(image)
    for face in faces:
        if set(face.probabilities) != set(labels):
            raise UsageError("the faces have other labels", got=list(labels), allowed=list(face.probabilities))
    canvas = np.array(colour(image), order="C")
    # Text keeps its size relative to the picture, and stays readable in small ones.
    unit = max(1.0, min(image.shape[:2]) / 480)
    inks = colours(labels)
    for face in faces:
        # In a crowd, no name covers its neighbours where it can be read at the width of its own face.
        _mark(canvas, face, inks, max(1.0, min(unit, face.box[2] / _NAME)))
    return np.vstack([canvas, _legend(canvas.shape[1], inks, unit)])


def _mark(canvas: Image, face: FaceResult, inks: Mapping[str, RGB], unit: float) -> None:
    x, y, width, height = (round(value) for value in face.box)
    ink = inks[face.expression]
    line, strip = max(1, round(2 * unit)), max(5, round(8 * unit))
    cv2.rectangle(canvas, (x, y), (x + width, y + height), ink, line, cv2.LINE_AA)
    left = float(x)
    # The strip stays inside a picture that ends at the chin.
    top = min(y + height + line, canvas.shape[0] - strip)
    for label, shade in inks.items():
        right = left + width * face.probabilities[label]
        cv2.rectangle(canvas, (round(left), top), (round(right), top + strip), shade, cv2.FILLED)
        left = right
    number = "" if face.identity is None else f"{face.identity} "
    name = f"{number}{face.expression} {face.confidence:.0%}{' ?' if face.uncertain else ''}"
    _text(canvas, name, (x - line // 2, y), ink, unit)


def _text(canvas: Image, text: str, corner: tuple[int, int], plate: Sequence[int], unit: float) -> None:
    """Text on a plate that stands on `corner`, moved inside the picture where it would leave it."""
    scale, pad = 0.45 * unit, round(4 * unit)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, max(1, round(unit)))
    x = max(0, min(corner[0], canvas.shape[1] - width - 2 * pad))
    y = max(height + below + 2 * pad, corner[1])
    cv2.rectangle(canvas, (x, y - height - below - 2 * pad), (x + width + 2 * pad, y), plate, cv2.FILLED)
    ink = _DARK if sum(plate) > 380 else _LIGHT
    cv2.putText(canvas, text, (x + pad, y - pad - below + 1), _FONT, scale, ink, max(1, round(unit)), cv2.LINE_AA)


def _legend(width: int, inks: Mapping[str, RGB], unit: float) -> Image:
    """A row that names the colours, in as many lines as the picture's width needs."""
    scale, side, height = 0.38 * unit, round(9 * unit), round(20 * unit)
    lines: list[list[tuple[int, str]]] = [[]]
    x = side
    for label in inks:
        wide = cv2.getTextSize(label, _FONT, scale, 1)[0][0] + 3 * side
        if x + wide > width and lines[-1]:
            lines.append([])
            x = side
        lines[-1].append((x, label))
        x += wide
    plate = np.full((height * len(lines), width, 3), _DARK, np.uint8)
    for place, line in enumerate(lines):
        base = height * (place + 1) - round(6 * unit)
        for x, label in line:
            cv2.rectangle(plate, (x, base - side), (x + side, base), inks[label], cv2.FILLED)
            cv2.putText(plate, label, (x + side + side // 2, base), _FONT, scale, _LIGHT, 1, cv2.LINE_AA)
    return plate
