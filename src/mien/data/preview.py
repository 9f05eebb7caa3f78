"""A contact sheet: one row a class, so that a dataset can be looked at before it is trained on."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.samples import Samples
from mien.errors import UnreadableImage
from mien.imaging import operations

Picture = NDArray[np.uint8]

_INK, _FAINT, _PAPER = (34, 34, 34), (120, 120, 120), 255
_MARGIN, _GAP, _LABELS, _TITLE = 14, 4, 124, 40
_FONT, _NAME = cv2.FONT_HERSHEY_SIMPLEX, 0.48


Show = Callable[[Picture], Picture]


def sheet(
    samples: Samples, columns: int = 12, tile: int = 72, seed: int = 0, show: Show = lambda image: image
) -> Picture:
    """Draw up to `columns` pictures of each label, chosen by `seed`, `tile` pixels wide and high.

    Each row carries its label and count; a picture that cannot be read is a crossed tile. `show` gives what is drawn of
    a picture, such as its faces boxed; what it cannot show (UnreadableImage) is crossed too.
    Returns RGB uint8 (H, W, 3).
    """
    step, names = tile + _GAP, max(_LABELS, 2 * _MARGIN + max(map(_width, samples.labels)))
    height = _TITLE + len(samples.labels) * step + _MARGIN
    canvas = np.full((height, names + columns * step + _MARGIN, 3), _PAPER, np.uint8)
    rng = np.random.default_rng(seed)
    _write(canvas, f"{samples.table['source'].iloc[0]}: {len(samples):,} pictures", (_MARGIN, 26), 0.55, _INK)
    targets = samples.targets
    for row, label in enumerate(samples.labels):
        members, top = np.flatnonzero(targets == row), _TITLE + row * step
        _write(canvas, label, (_MARGIN, top + tile // 2 - 2), _NAME, _INK)
        _write(canvas, f"{len(members):,}", (_MARGIN, top + tile // 2 + 16), 0.42, _FAINT)
        for column, position in enumerate(np.sort(rng.permutation(members)[:columns])):
            left = names + column * step
            canvas[top : top + tile, left : left + tile] = _tile(samples, int(position), tile, show)
    return canvas


def _width(name: str) -> int:
    return cv2.getTextSize(name, _FONT, _NAME, 1)[0][0]


def _tile(samples: Samples, position: int, side: int, show: Show) -> Picture:
    """One picture, whole and in its proportions, centred in a square."""
    try:
        image = show(samples.reader.read(samples.table["image"].iloc[position]))
    except UnreadableImage:
        return _crossed(side)
    colour = operations.colour(image)
    scale = side / max(colour.shape[:2])
    width, height = (max(1, round(length * scale)) for length in (colour.shape[1], colour.shape[0]))
    small = cv2.resize(colour, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    square = np.full((side, side, 3), 235, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def _crossed(side: int) -> Picture:
    square = np.full((side, side, 3), 235, np.uint8)
    for start, end in (((0, 0), (side - 1, side - 1)), ((0, side - 1), (side - 1, 0))):
        cv2.line(square, start, end, (190, 60, 60), 1, cv2.LINE_AA)
    return square


def _write(canvas: Picture, text: str, place: tuple[int, int], size: float, ink: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, place, _FONT, size, ink, 1, cv2.LINE_AA)
