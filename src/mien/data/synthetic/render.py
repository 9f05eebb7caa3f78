"""From a person, a face and a view to pixels: painting at twice the size, then light, obstacles, lens and sensor."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.data.synthetic.action_units import Face, prototype
from mien.data.synthetic.anatomy import Identity, edge_depth, identity, skin_depth
from mien.data.synthetic.features import beard, brows, contour, eyes, mouth, nose
from mien.data.synthetic.hair import before, behind, spectacles
from mien.data.synthetic.relief import relief
from mien.data.synthetic.shapes import Shape

Pixels = NDArray[np.uint8]
_SHIFT = 4  # OpenCV draws at 1/16 pixel
_SPAN = 2.45  # the height of a picture at scale 1, in the units of the face


@dataclass(frozen=True)
class View:
    """How a face is seen. Angles in degrees (yaw to its left as seen, pitch down, roll clockwise).

    `scale` 1 shows the head from crown to chin; shifts are shares of the side; `light` is the direction that it comes
    from, `contrast` how one-sided it is (0..1), `gain` how bright; `cover` is the share of the side that an obstacle
    hides (0 none); `blur` a Gaussian sigma as a share of the side; `noise` a standard deviation in grey levels;
    `seed` fixes gaze, background, obstacle and noise.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    light: float = -60.0
    contrast: float = 0.3
    gain: float = 1.0
    cover: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    seed: int = 0


def render(
    expression: str | Face, who: Identity | int = 0, view: View | None = None, *, size: int = 48, colour: bool = False
) -> Pixels:
    """One picture: (size, size) uint8, or (size, size, 3) RGB with `colour`; the same arguments give the same picture.

    `expression` is a name, shown as its textbook prototype, or a face of your own action units.

    >>> render("happiness", 3, size=32).shape
    (32, 32)
    """
    face = prototype(expression) if isinstance(expression, str) else expression
    who = identity(who) if isinstance(who, int) else who
    view = view or View()
    rng = np.random.Generator(np.random.PCG64([view.seed, 0xFACE]))
    fine = size * (2 if size >= 40 else 4)
    camera = _Camera.of(view, fine)

    canvas = _background(fine, rng)
    gaze = tuple(rng.normal(0, 0.12, 2))
    edge = contour(who, face)
    camera.paint(canvas, [*behind(who, face), Shape(edge, who.skin, depth=edge_depth(edge))])
    _lay(canvas, camera, relief(who, face))
    camera.paint(canvas, [*beard(who, face), *nose(who, face), *mouth(who, face), *eyes(who, face, gaze)])
    camera.paint(canvas, [*brows(who, face), *before(who), *spectacles(who)])
    if view.cover:
        _cover(canvas, view.cover, rng)
    picture = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    if not colour:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return _photographed(np.asarray(picture, np.uint8), view, rng)


@dataclass(frozen=True)
class _Camera:
    """A scaled orthographic view: (N, 3) @ (3, 2) + (2,), in pixels."""

    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: float

    @staticmethod
    def of(view: View, side: int) -> "_Camera":
        yaw, pitch, roll = np.deg2rad([view.yaw, view.pitch, view.roll])
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0]])
        scale = view.scale * side / _SPAN
        matrix = (scale * tilt @ nod @ turn).T
        middle = np.array([0.0, 0.0, 0.45]) @ matrix
        return _Camera(matrix, side * (0.5 + np.array(view.shift)) - middle, scale)

    def places(self, shapes: list[Shape]) -> list[NDArray[np.int32]]:
        """Where the points of every shape fall, (N, 2) in sixteenths of a pixel."""
        points = np.concatenate([shape.points for shape in shapes])
        depth = skin_depth(points)
        ends = np.cumsum([len(shape.points) for shape in shapes])
        for shape, end in zip(shapes, ends, strict=True):
            if shape.depth is not None:
                depth[end - len(shape.points) : end] = shape.depth
        flat = points @ self.matrix[:2] + depth[:, None] * self.matrix[2] + self.centre
        return np.split(np.rint(flat * (1 << _SHIFT)).astype(np.int32), ends[:-1])

    def paint(self, canvas: Pixels, shapes: list[Shape]) -> None:
        outline = np.empty((0, 2), np.int32)
        for shape, place in zip(shapes, self.places(shapes), strict=True):
            if shape.inside:
                mask = np.zeros(canvas.shape[:2], np.uint8)
                cv2.fillPoly(mask, [outline], (255,), cv2.LINE_AA, _SHIFT)
                layer = canvas.copy()
                cv2.fillPoly(layer, [place], shape.colour, cv2.LINE_AA, _SHIFT)
                cv2.copyTo(layer, mask, canvas)
                continue
            outline = place
            if shape.width:
                thick = max(1, round(shape.width * self.scale))
                cv2.polylines(canvas, [place], False, shape.colour, thick, cv2.LINE_AA, _SHIFT)
            else:
                cv2.fillPoly(canvas, [place], shape.colour, cv2.LINE_AA, _SHIFT)


def _lay(canvas: Pixels, camera: _Camera, shades: list[Shape]) -> None:
    """Darken and lighten the canvas by blurred shades; where they meet the strongest counts."""
    layer = np.full(canvas.shape[:2], 128, np.uint8)
    marks = sorted((shape for shape in shades if abs(shape.colour[0]) > 0.03), key=lambda shape: abs(shape.colour[0]))
    camera.paint(layer, [replace(shape, colour=(128 + 127 * shape.colour[0],) * 3) for shape in marks])
    soft = cv2.GaussianBlur(layer, (0, 0), max(0.5, 0.035 * camera.scale))
    cv2.multiply(canvas, cv2.merge([soft] * 3), canvas, 1 / 128)


def _background(side: int, rng: np.random.Generator) -> Pixels:
    spots = rng.uniform(30, 220) + rng.normal(0, 30, (4, 4, 1)) + rng.normal(0, 12, (4, 4, 3))
    few = np.clip(spots, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(few, (side, side), interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)


def _cover(canvas: Pixels, share: float, rng: np.random.Generator) -> None:
    """Hide a part of the picture behind a tilted ellipse, as a hand, a scarf or a microphone would."""
    side = len(canvas)
    x, y = np.rint(side * rng.uniform(0.1, 0.9, 2) * (1 << _SHIFT)).astype(int).tolist()
    axes = np.rint(side * share * rng.uniform((0.6, 0.35), (1.0, 0.5)) * (1 << _SHIFT)).astype(int).tolist()
    colour = np.clip(rng.uniform(30, 220) + rng.normal(0, 15, 3), 0, 255).tolist()
    cv2.ellipse(canvas, (x, y), axes, float(rng.integers(180)), 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def _photographed(picture: Pixels, view: View, rng: np.random.Generator) -> Pixels:
    side = len(picture)
    if view.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), view.blur * side), np.uint8)
    light = np.deg2rad(view.light)
    x = np.linspace(-1, 1, side, dtype=np.float32)
    field = view.gain * (1 + view.contrast * (np.cos(light) * x + np.sin(light) * x[:, None]))
    out = picture * (field if picture.ndim == 2 else field[..., None])
    if view.noise:
        out += view.noise * rng.standard_normal(out.shape, np.float32)
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)
