"""What frames a face: neck, ears, hair and spectacles."""

import numpy as np

from mien.data.synthetic.action_units import Face
from mien.data.synthetic.anatomy import Identity, skin_depth
from mien.data.synthetic.features import SIDES
from mien.data.synthetic.shapes import Shape, at, line, patch, smooth, tinted


def behind(who: Identity, face: Face) -> list[Shape]:
    """Hair at the back, neck, shoulders and ears: painted before the face."""
    neck = at((0.42, 0.4), (0.46, 1.25), (1.3, 1.6), (1.3, 2.4))
    shapes = [patch(np.concatenate([neck, neck[::-1] * (-1, 1)]), tinted(who.skin, 0.72), depth=-0.1)]
    for side in SIDES:
        ear = at((0.98, -0.2), (1.12, -0.22), (1.13, 0.0), (1.02, 0.22), (0.95, 0.15)) * (side * who.width, 1)
        shapes.append(patch(ear, tinted(who.skin, 0.85), depth=0.0))
    if who.style == "long":
        fall = at((0, -1.42), (0.75, -1.2), (1.08, -0.5), (1.06, 0.4), (1.0, 1.3), (0.5, 1.4), (0.45, 0.4))
        whole = np.concatenate([fall, fall[::-1] * (-1, 1)]) * (who.width / 0.78, 1)
        shapes.insert(0, patch(whole, tinted(who.hair, 0.85), depth=-0.1))
    return shapes


def before(who: Identity) -> list[Shape]:
    """Hair over the forehead and temples: painted after the face."""
    if who.style == "bald":
        return []
    w, top = who.width, -who.forehead
    low = {"short": 0.0, "fringe": 0.22, "long": 0.08}[who.style]
    rim = at((1.04 * w, -0.18), (0.93 * w, -0.55 + 0.5 * low), (0.62 * w, top + 0.05 + low), (0.1, top - 0.05 + low))
    rim = np.concatenate([rim, at((-0.55 * w, top + 0.08 + low), (-0.93 * w, -0.55 + 0.5 * low), (-1.04 * w, -0.18))])
    crown = at((-1.12 * w, -0.7), (-0.75 * w, -1.25), (0, -1.42), (0.75 * w, -1.25), (1.12 * w, -0.7))
    rim, crown = smooth(rim), smooth(crown)
    depth = np.repeat([0.45, 0.0], [len(rim), len(crown)])
    return [Shape(np.concatenate([rim, crown]), who.hair, depth=depth)]


def spectacles(who: Identity) -> list[Shape]:
    """Rims, bridge and temples."""
    if not who.glasses:
        return []
    dark = (36.0, 32.0, 34.0)
    x, half = who.eye_distance, who.eye_width + 0.075
    shapes = [line(at((-x + half, -0.02), (0, -0.06), (x - half, -0.02)), dark, 0.03)]
    for side in SIDES:
        rim = at((-1, -0.8), (0, -0.95), (1, -0.8), (1, 0.5), (0, 1), (-1, 0.5)) * (half, 0.19) + (side * x, 0.02)
        closed = smooth(rim, closed=True)
        temple = at((side * (x + half), -0.05), (side * who.width, -0.1))
        shapes.append(Shape(np.concatenate([closed, closed[:1]]), dark, 0.03))
        shapes.append(Shape(temple, dark, 0.03, depth=skin_depth(temple) * (1, 0.2)))
    return shapes
