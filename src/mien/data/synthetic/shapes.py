"""Shapes on a head, before any camera: filled or stroked curves of one colour, in the order of painting."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mien.data.synthetic.anatomy import Colour, Points


@dataclass(frozen=True)
class Shape:
    """A curve of the front view, (N, 2): filled, or stroked where `width` is above 0.

    It lies on the skin, or at a `depth` of its own; `inside` shows only what falls into the last shape that was not.
    For the relief of the skin the first value of `colour` is a shade: below 0 darker, above 0 lighter.
    """

    points: Points
    colour: Colour
    width: float = 0.0
    inside: bool = False
    depth: Points | float | None = None


def at(*points: tuple[float, float]) -> Points:
    """Points of the front view, (N, 2)."""
    return np.array(points, float)


def patch(points: Points, colour: Colour, depth: float | None = None) -> Shape:
    """A filled patch inside a smooth closed curve through `points`."""
    return Shape(smooth(points, closed=True), colour, depth=depth)


def line(points: Points, colour: Colour, width: float) -> Shape:
    """A smooth line on the skin through `points`."""
    return Shape(smooth(points), colour, width)


def between(above: Points, below: Points, colour: Colour, inside: bool = False) -> Shape:
    """A filled patch of skin between two curves of the same direction."""
    return Shape(np.concatenate([above, below[::-1]]), colour, inside=inside)


def disc(x: float, y: float, radius: float, colour: Colour, *, squeeze: float = 1.0, inside: bool = False) -> Shape:
    """A filled ellipse on the skin, `squeeze` times as high as wide."""
    return Shape(_CIRCLE * (radius, radius * squeeze) + (x, y), colour, inside=inside)


def shade(level: float) -> Colour:
    """A shade of relief, -1 dark to 1 light."""
    return level, level, level


def tinted(colour: Colour, factor: float, towards: Colour = (0.0, 0.0, 0.0), share: float = 0.0) -> Colour:
    """A colour made lighter or darker, and mixed with a share of another."""
    red, green, blue = (min(255.0, a * factor * (1 - share) + b * share) for a, b in zip(colour, towards, strict=True))
    return red, green, blue


def smooth(points: Points, closed: bool = False) -> Points:
    """A Catmull-Rom curve through the points, (M, 2)."""
    return _basis(len(points), closed) @ points


@lru_cache(maxsize=64)
def _basis(count: int, closed: bool, steps: int = 5) -> NDArray[np.float64]:
    pieces = count if closed else count - 1
    weights = np.zeros((pieces * steps + (not closed), count))
    for piece in range(pieces):
        around = [piece - 1, piece, piece + 1, piece + 2]
        around = [i % count for i in around] if closed else [min(max(i, 0), count - 1) for i in around]
        for step in range(steps):
            t = step / steps
            cubic = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
            for point, weight in zip(around, cubic, strict=True):
                weights[piece * steps + step, point] += weight / 2
    if not closed:
        weights[-1, -1] = 1
    return weights


_TURNS = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_CIRCLE = np.column_stack([np.cos(_TURNS), np.sin(_TURNS)])
