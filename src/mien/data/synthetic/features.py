"""The features of a face as shapes: where its owner's proportions and its action units put them."""

import numpy as np

from mien.data.synthetic.action_units import Face
from mien.data.synthetic.anatomy import Colour, Identity, Points, edge_depth, skin_depth
from mien.data.synthetic.shapes import Shape, at, between, disc, line, patch, smooth, tinted

_LASH: Colour = (38.0, 28.0, 26.0)
_WHITE: Colour = (232.0, 228.0, 222.0)
_CAVITY: Colour = (58.0, 22.0, 24.0)
_TEETH: Colour = (236.0, 230.0, 218.0)
_RED: Colour = (176.0, 74.0, 78.0)
SIDES = (-1, 1)


def brow(who: Identity, face: Face, side: int) -> Points:
    """The middle line of a brow from the inner end outwards, (4, 2)."""
    units = face.half(side)
    inner = 0.20 * units[1] - 0.12 * units[4] - 0.05 * units[9]
    outer = 0.16 * units[2] - 0.05 * units[4] - 0.02 * units[9]
    middle = 0.45 * inner + 0.55 * outer
    x, y, arch = who.eye_distance, -who.brow_height, who.brow_arch
    drawn_in = 0.06 * units[4]
    return at(
        (side * (x - 0.19 - drawn_in), y + 0.02 - inner),
        (side * (x - 0.06 - drawn_in), y - 0.4 * arch - middle - 0.3 * (inner - middle)),
        (side * (x + 0.08), y - arch - middle),
        (side * (x + 0.21), y + 0.03 - outer),
    )


def brows(who: Identity, face: Face) -> list[Shape]:
    """Both brows, thick within and thin at the outer end."""
    colour = tinted(who.hair, 0.8, who.skin, 0.15)
    shapes = []
    for side in SIDES:
        middle = brow(who, face, side)
        half = who.brow_thickness * np.array([[0, 0.8], [0, 1], [0, 0.9], [0, 0.25]])
        shapes.append(between(smooth(middle - half), smooth(middle + half), colour))
    return shapes


def eyes(who: Identity, face: Face, gaze: tuple[float, float] = (0.0, 0.0)) -> list[Shape]:
    """White, iris, pupil and lids of both eyes; `gaze` shifts the irises, in eye widths."""
    shapes: list[Shape] = []
    for side in SIDES:
        units, x, width, height = face.half(side), who.eye_distance, who.eye_width, who.eye_height
        open_ = 1 - 0.96 * units[43]
        upper = height * (1.05 + 0.95 * units[5] - 0.35 * units[7] - 0.2 * units[9] - 0.15 * units[6]) * open_
        lower = height * (0.75 + 0.15 * units[5] - 0.55 * units[7] - 0.6 * units[6] - 0.3 * units[9])
        lower += height * 0.5 * units[43]
        inner, outer = (side * (x - width), 0.02), (side * (x + width), -who.eye_slant)
        lid = smooth(at(inner, (side * (x - 0.45 * width), -0.85 * upper), (side * (x + 0.35 * width), -upper), outer))
        under = smooth(at(inner, (side * (x - 0.3 * width), lower), (side * (x + 0.5 * width), 0.85 * lower), outer))
        iris_x, iris_y = side * x + gaze[0] * width, -0.012 + gaze[1] * height
        crease = lid * (1, 1) - (0, 0.035 + 0.02 * units[5] - 0.01 * units[43])
        shapes += [
            between(lid, under, _WHITE),
            disc(iris_x, iris_y, 0.56 * width, who.iris, inside=True),
            disc(iris_x, iris_y, 0.27 * width, (16.0, 14.0, 14.0), inside=True),
            disc(iris_x + 0.03, iris_y - 0.03, 0.11 * width, (250.0, 250.0, 250.0), inside=True),
            Shape(crease, tinted(who.skin, 0.72), 0.012),
            Shape(under, tinted(who.skin, 0.66), 0.014),
            Shape(lid, _LASH, 0.03),
        ]
    return shapes


def nose(who: Identity, face: Face) -> list[Shape]:
    """Wings and nostrils; its ridge is relief."""
    dark, darker = tinted(who.skin, 0.62), tinted(who.skin, 0.34)
    shapes = []
    for side in SIDES:
        units = face.half(side)
        tip = who.nose_length - 0.05 * units[9] - 0.02 * units[10]
        wing = who.nose_width * (1 + 0.12 * units[9] + 0.06 * units[12])
        shapes.append(disc(side * 0.52 * wing, tip + 0.015, 0.034, darker, squeeze=0.6))
        curve = at((side * 0.85 * wing, tip - 0.10), (side * wing, tip - 0.03), (side * 0.8 * wing, tip + 0.02))
        shapes.append(line(curve, dark, 0.018))
    tip = who.nose_length - 0.04 * face.both[9]
    under = at((-0.35 * who.nose_width, tip + 0.045), (0, tip + 0.06), (0.35 * who.nose_width, tip + 0.045))
    return [*shapes, line(under, dark, 0.016)]


def mouth_corner(who: Identity, face: Face, side: int) -> tuple[float, float]:
    """Where the corner of the mouth is."""
    units = face.half(side)
    stretch = 0.24 * units[12] + 0.34 * units[20] + 0.05 * units[14] - 0.10 * units[24] - 0.12 * units[23]
    x = who.mouth_width * (1 + stretch - 0.26 * units[27] - 0.08 * units[26] + 0.04 * units[15])
    lift = 0.15 * units[12] + 0.06 * units[14] - 0.13 * units[15] - 0.03 * units[20] - 0.03 * units[17]
    drop = 0.06 * units[26] + 0.12 * units[27]
    return side * x, who.mouth_height - lift + drop + side * who.mouth_slant * 0.5


def mouth(who: Identity, face: Face) -> list[Shape]:
    """Lips, and behind them the cavity with the teeth."""
    units, y = face.both, who.mouth_height
    (left, left_y), (right, right_y) = mouth_corner(who, face, -1), mouth_corner(who, face, 1)
    gap = 0.06 * units[25] + 0.20 * units[26] + 0.36 * units[27] + 0.03 * units[10]
    gap *= 1 - 0.7 * max(units[23], units[24])
    thin = 1 - 0.5 * max(units[23], units[24]) - 0.2 * units[12] - 0.15 * units[20]
    top, bottom = who.upper_lip * thin, who.lower_lip * (thin + 0.25 * units[17])

    def across(middle: float, bend: float, share: float) -> Points:
        """A line from corner to corner through the middle, `share` of the way to it at the quarter points."""
        return at(
            (left, left_y),
            (0.5 * left, left_y + share * (middle - left_y) - bend),
            (0, middle),
            (0.5 * right, right_y + share * (middle - right_y) - bend),
            (right, right_y),
        )

    lifted = {side: 0.07 * face.half(side)[10] + 0.05 * face.half(side)[9] for side in SIDES}
    lift = (lifted[-1] + lifted[1]) / 2
    upper = y - lift - 0.05 * units[17] - 0.02 * units[12] + 0.01
    inner_upper = across(upper, 0.0, 0.75)
    inner_lower = across(upper + gap + 0.004, 0.0, 0.75)
    outer_upper = across(upper - top * 0.8, 0.25 * top, 0.92)
    outer_lower = across(upper + gap + bottom, 0.0, 0.8)
    for side, point in ((-1, 1), (1, 3)):
        inner_upper[point, 1] -= 0.5 * (lifted[side] - lift)
        outer_upper[point, 1] -= 0.5 * (lifted[side] - lift)
    lips = tinted(who.skin, 0.84, _RED, who.lips)
    rim = [smooth(curve) for curve in (outer_upper, inner_upper, inner_lower, outer_lower)]
    shapes = [between(rim[0], rim[1], tinted(lips, 0.9)), between(rim[2], rim[3], lips)]
    if gap > 0.015:
        bared = min(0.085, 0.02 + 0.04 * units[12] + 0.08 * units[10] + 0.04 * units[20] + 0.05 * units[27])
        teeth = between(rim[1] - (0, 0.02), rim[1] + (0, bared), _TEETH, inside=True)
        shapes += [between(rim[1], rim[2], _CAVITY), teeth]
    shapes.append(Shape(rim[1], tinted(lips, 0.45), 0.02))
    return shapes


def contour(who: Identity, face: Face) -> Points:
    """The outline of the face, (N, 2), lower where the jaw drops."""
    drop = 0.12 * face.both[26] + 0.24 * face.both[27] - 0.02 * face.both[17]
    broad = 0.02 * face.both[12]
    half = at(
        (0.0, -1.22),
        (0.45 * who.width, -1.12),
        (0.86 * who.width, -0.78),
        (who.width, -0.25),
        (who.width * 0.97 + broad, 0.15),
        (who.jaw + broad, 0.62 + 0.5 * drop),
        (0.30, who.chin - 0.06 + drop),
        (0.0, who.chin + drop),
    )
    return smooth(np.concatenate([half, half[-2:0:-1] * (-1, 1)]), closed=True)


def beard(who: Identity, face: Face) -> list[Shape]:
    """Hair about the mouth, thin enough to let some skin through."""
    colour = tinted(who.skin, 0.8, who.hair, {"none": 0.0, "stubble": 0.3, "moustache": 0.7, "full": 0.7}[who.beard])
    (left, left_y), (right, right_y) = mouth_corner(who, face, -1), mouth_corner(who, face, 1)
    lip = who.mouth_height - 0.09 - 0.07 * face.both[10] - 0.05 * face.both[9]
    if who.beard == "none":
        return []
    if who.beard == "moustache":
        left, right = 1.1 * left, 1.1 * right
        top = at((left, left_y), (0.4 * left, lip - 0.05), (0.4 * right, lip - 0.05), (right, right_y), (0, lip + 0.1))
        return [patch(top, colour)]
    edge = contour(who, face)
    low = edge[edge[:, 1] > 0.35]
    low = low[np.argsort(low[:, 0])]
    top = smooth(at((0.42, 0.52), (0.3, lip - 0.04), (0, lip - 0.05), (-0.3, lip - 0.04), (-0.42, 0.52)))
    depth = np.concatenate([edge_depth(low), skin_depth(top)])
    return [Shape(np.concatenate([low, top]), colour, depth=depth)]
