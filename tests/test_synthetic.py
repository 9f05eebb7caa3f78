"""Synthetic faces: muscles move what they should, pictures repeat, people stay on one side."""

import cv2
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from mien.data.synthetic import Conditions, Face, View, identity, prototype, render, samples
from mien.data.synthetic.features import SIDES, brow, contour, mouth, mouth_corner
from mien.errors import UsageError
from mien.labels import EXPRESSIONS

WHO = identity(4)
REST = Face()


def made(**units: float) -> Face:
    both = {int(name.removeprefix("au")): intensity for name, intensity in units.items()}
    return Face(both, both)


@pytest.mark.parametrize("side", SIDES)
def test_units_move_brows_and_mouth_as_facs_says(side):
    inner, outer = brow(WHO, REST, side)[[0, -1]]
    x, y = mouth_corner(WHO, REST, side)
    assert brow(WHO, made(au1=1), side)[0, 1] < inner[1]
    assert brow(WHO, made(au1=1), side)[-1, 1] == outer[1]
    assert brow(WHO, made(au2=1), side)[-1, 1] < outer[1]
    assert brow(WHO, made(au4=1), side)[0, 1] > inner[1]
    assert mouth_corner(WHO, made(au12=1), side)[1] < y < mouth_corner(WHO, made(au15=1), side)[1]
    assert abs(mouth_corner(WHO, made(au20=1), side)[0]) > abs(x) > abs(mouth_corner(WHO, made(au27=1), side)[0])


def test_jaw_drop_lowers_the_chin_and_opens_the_mouth():
    assert contour(WHO, made(au26=1))[:, 1].max() > contour(WHO, REST)[:, 1].max()
    assert len(mouth(WHO, made(au26=1))) > len(mouth(WHO, REST))


def test_contempt_is_on_one_side_only():
    face = prototype("contempt")
    assert face.half(-1)[14] == 0
    assert face.half(1)[14] == 1


def test_every_expression_of_one_person_looks_different_and_every_person_too():
    pictures = [render(name, 1) for name in EXPRESSIONS] + [render("neutral", who) for who in range(2, 8)]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


@pytest.mark.parametrize(
    ("size", "colour", "shape"), [(16, False, (16, 16)), (96, True, (96, 96, 3)), (224, False, (224, 224))]
)
def test_any_size_grey_or_colour(size, colour, shape):
    picture = render("fear", 2, View(noise=3, blur=0.01, cover=0.2), size=size, colour=colour)
    assert picture.shape == shape
    assert picture.dtype == np.uint8


def test_grey_is_the_colour_picture_in_grey():
    grey, colour = render("happiness", 2), render("happiness", 2, colour=True)
    assert np.abs(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(int) - grey).max() <= 2


@pytest.mark.parametrize(
    ("view", "low", "high"),
    [
        (View(shift=(0.1, 0)), (9, -1), (10, 1)),
        (View(shift=(0, 0.1)), (-1, 9), (1, 10)),
        (View(yaw=20), (2, -2), (15, 2)),
        (View(pitch=15), (-2, 2), (2, 15)),
    ],
)
def test_views_move_the_mouth_where_the_camera_says(view, low, high):
    still = render("surprise", WHO, size=96)
    found = cv2.matchTemplate(render("surprise", WHO, view, size=96), still[66:80, 36:60], cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert low[0] <= x - 36 <= high[0]
    assert low[1] <= y - 66 <= high[1]


def test_same_arguments_same_pictures_and_origin():
    one, two, other = (samples(count=24, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.reader.pixels, two.reader.pixels)
    assert one.table.equals(two.table)
    assert one.reader.origin == two.reader.origin != other.reader.origin
    assert not np.array_equal(one.reader.pixels, other.reader.pixels)
    assert one.reader.origin != samples(count=24, seed=1, conditions={"noise": [0, 1]}).reader.origin


def test_samples_have_even_classes_named_people_and_a_split_by_person():
    faces = samples(count=160, size=24, subjects=20)
    assert faces.labels == EXPRESSIONS
    assert np.bincount(faces.targets).tolist() == [20] * 8
    people = faces.table.groupby("subject")
    assert len(people) == 20
    assert (people["split"].nunique() == 1).all()
    assert (people["label"].nunique() == 8).all()
    assert [len(faces.rows(split)) for split in ("train", "validation", "test")] == [112, 24, 24]


def test_shares_make_an_uneven_set():
    faces = samples(count=60, size=16, shares={"happy": 4, "disgust": 1})
    assert faces.labels == ("disgust", "happiness")
    assert np.bincount(faces.targets).tolist() == [12, 48]


def test_conditions_are_followed():
    calm = dict.fromkeys(("yaw", "pitch", "roll", "shift", "covered", "idle"), 0.0)
    still = {
        name: (value, value) for name, value in {"scale": 1.2, "contrast": 0, "gain": 1, "blur": 0, "noise": 0}.items()
    }
    faces = samples(count=8, subjects=3, shares={"neutral": 1}, conditions={**calm, **still})
    one, two = faces.reader.pixels[:2].astype(int)
    assert np.abs(one - two)[16:32, 20:28].mean() < 6
    assert Conditions().view(np.random.default_rng(0)) == Conditions().view(np.random.default_rng(0))


def test_a_linear_model_on_pixels_stays_well_below_local_gradients():
    """Gradient histograms over cells are one fixed convolution with pooling: what a small network learns first."""
    faces = samples(count=1000, seed=3)
    train, test = faces.rows("train"), np.concatenate([faces.rows("validation"), faces.rows("test")])
    grey = faces.reader.pixels.reshape(len(faces), -1) / 255 - 0.5
    histograms = cv2.HOGDescriptor((48, 48), (12, 12), (6, 6), (6, 6), 9)
    gradients = np.stack([histograms.compute(picture).ravel() for picture in faces.reader.pixels])

    def accuracy(features, penalty):
        model = RidgeClassifier(alpha=penalty).fit(features[train], faces.targets[train])
        return model.score(features[test], faces.targets[test])

    linear = max(accuracy(grey, penalty) for penalty in (30, 100))
    assert 0.3 < linear < 0.65
    assert accuracy(gradients, 10) > linear + 0.1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 2}, "three subjects"),
        ({"count": 10, "subjects": 11}, "three subjects"),
        ({"size": 8}, "16 x 16"),
        ({"shares": {"hapy": 1}}, "unknown expression label"),
        ({"shares": {"happy": 0}}, "not all 0"),
        ({"conditions": {"yow": 3}}, "did you mean 'yaw'"),
        ({"conditions": {"noise": 3}}, "noise has another form"),
        ({"conditions": {"view": 3}}, "unknown condition"),
        ({"conditions": {"scale": [1.2]}}, "scale has another form"),
        ({"conditions": {"noise": [9, 0]}}, "noise is from 0 up, the lower"),
        ({"conditions": {"yaw": -3}}, "yaw is from 0 up"),
    ],
)
def test_senseless_sets_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        samples(**wrong)


def test_unknown_action_unit_is_refused():
    with pytest.raises(UsageError, match=r"(?s)unknown action units.*99"):
        Face({99: 1.0})
