"""What muscles and bones do to the light on the skin: shades that are blurred and laid over the face."""

from mien.data.synthetic.action_units import Face
from mien.data.synthetic.anatomy import Identity, edge_depth
from mien.data.synthetic.features import SIDES, brow, contour, mouth_corner
from mien.data.synthetic.shapes import Shape, at, disc, line, patch, shade


def relief(who: Identity, face: Face) -> list[Shape]:
    """The shades of a face, darker below 0 and lighter above."""
    edge = contour(who, face)
    rim = Shape(edge, shade(-0.30), 0.10, depth=edge_depth(edge))
    return [rim, *_bones(who), *_middle(who, face), *_sides(who, face)]


def _bones(who: Identity) -> list[Shape]:
    tip = who.nose_length
    shapes = [
        disc(0, -0.62, 0.34, shade(0.06), squeeze=0.6),
        line(at((0, -0.1), (0.0, 0.1), (0, tip - 0.12)), shade(0.14), 0.08),
        disc(0, tip - 0.06, 0.07, shade(0.16)),
        disc(0, who.chin - 0.14, 0.12, shade(0.07), squeeze=0.7),
    ]
    for side in SIDES:
        nose = at((side * 0.10, -0.12), (side * 0.09, 0.08), (side * 0.9 * who.nose_width, tip - 0.05))
        shapes += [
            disc(side * (who.eye_distance - 0.08), -0.10, 0.13, shade(-0.22), squeeze=0.7),
            line(nose, shade(-0.26), 0.05),
            disc(side * 0.42, 0.24, 0.16, shade(0.07), squeeze=0.8),
        ]
    return shapes


def _middle(who: Identity, face: Face) -> list[Shape]:
    units, y = face.both, who.mouth_height
    drop = 0.20 * units[26] + 0.36 * units[27] + 0.06 * units[25]
    shapes = [line(at((-0.13, y + 0.14 + drop), (0, y + 0.16 + drop), (0.13, y + 0.14 + drop)), shade(-0.3), 0.05)]
    furrow, raised, wrinkled = units[4], (units[1] + units[2]) / 2, units[9]
    for side in SIDES:
        frown = at((side * 0.055, -0.27), (side * 0.045, -0.20), (side * 0.06, -0.13))
        shapes.append(line(frown, shade(-0.6 * furrow), 0.03))
        bridge = at((side * 0.10, 0.02), (side * 0.05, 0.06), (side * 0.10, 0.12))
        root = at((side * 0.07, -0.10), (side * 0.02, -0.07), (side * 0.07, -0.02))
        shapes += [line(bridge, shade(-0.6 * wrinkled), 0.03), line(root, shade(-0.5 * wrinkled), 0.03)]
    for height in (-0.62, -0.74):
        wave = at((-0.34, height + 0.03), (-0.1, height - 0.01), (0.1, height - 0.01), (0.34, height + 0.03))
        shapes.append(line(wave, shade(-0.5 * raised - 0.15 * who.age), 0.03))
    if units[17]:
        shapes.append(disc(0, who.chin - 0.16, 0.13, shade(-0.45 * units[17]), squeeze=0.7))
        shapes.append(line(at((-0.16, y + 0.2), (0, y + 0.13), (0.16, y + 0.2)), shade(-0.5 * units[17]), 0.04))
    return shapes


def _sides(who: Identity, face: Face) -> list[Shape]:
    shapes = []
    for side in SIDES:
        units = face.half(side)
        x, y = mouth_corner(who, face, side)
        wing, tip, eye = side * who.nose_width, who.nose_length, who.eye_distance
        fold = min(1.0, 0.2 * who.age + 0.6 * units[12] + 0.45 * units[10] + 0.6 * units[9] + 0.2 * units[20])
        bend = side * (0.05 + 0.09 * units[12])
        cheek = at((1.1 * wing, tip - 0.07), ((wing + x) / 2 + bend, (tip + y) / 2 - 0.02), (x + side * 0.07, y))
        dimple = at((x + side * 0.06, y - 0.07), (x + side * 0.08, y + 0.01), (x + side * 0.05, y + 0.08))
        drooping = at((x + side * 0.02, y + 0.04), (x + side * 0.06, y + 0.16))
        pulled = -0.15 - 0.3 * units[14] - 0.3 * units[15] - 0.2 * units[12]
        shapes += [
            line(cheek, shade(-0.55 * fold), 0.04),
            disc(x + side * 0.03, y + 0.01, 0.045, shade(pulled)),
            line(dimple, shade(-0.55 * units[14]), 0.03),
            line(drooping, shade(-0.5 * units[15]), 0.04),
        ]
        raised = max(units[6], 0.6 * units[12])
        shapes.append(disc(side * 0.45, 0.24 - 0.06 * raised, 0.15, shade(0.16 * raised), squeeze=0.7))
        bag = at((side * (eye - 0.14), 0.12), (side * eye, 0.17 - 0.04 * units[6]), (side * (eye + 0.15), 0.11))
        shapes.append(line(bag, shade(-0.18 - 0.2 * who.age - 0.45 * units[6] - 0.2 * units[7]), 0.035))
        crow = at((side * (eye + 0.19), 0.0), (side * (eye + 0.27), 0.05))
        shapes.append(line(crow, shade(-0.5 * units[6]), 0.03))
        inner, *_, outer = brow(who, face, side)
        shapes.append(patch(at(tuple(inner), (side * eye, -0.09), tuple(outer)), shade(-0.1 - 0.2 * units[4])))
    return shapes
