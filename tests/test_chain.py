"""The chain, and one contract that every step of the catalogue keeps."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import UsageError
from mien.imaging.chain import CATALOGUE, Chain

# How a recipe writes each step; a new step adds its line here and inherits the whole contract.
EXAMPLES = {
    "grey": ["grey"],
    "colour": ["colour"],
    "resize": [{"resize": 48}, {"resize": {"size": [20, 30], "interpolation": "area"}}],
    "crop": [{"crop": 0.8}, {"crop": [0.1, 0, 0.5, 1]}],
    "equalise": ["equalise"],
    "clahe": ["clahe", {"clahe": {"clip": 4, "tiles": 4}}],
    "canny": ["canny", {"canny": {"low": 50, "high": 80}}],
    "detect-face": ["detect-face", {"detect-face": {"missing": "drop", "margin": 0.1}}],
    "frame-face": ["frame-face", {"frame-face": {"detector": "viola-jones", "missing": "drop", "scale": 1.2}}],
    "align": [{"align": {"size": 32, "detector": "viola-jones"}}],
    "restore": [{"restore": {"restorer": "bicubic", "size": 64}}, {"restore": {"restorer": "lanczos", "size": 20}}],
    "normalise": ["normalise", {"normalise": "imagenet"}, {"normalise": {"mean": 0.5, "std": 0.25}}],
}

EVERY = [pytest.param(item, id=f"{name}-{i}") for name, items in EXAMPLES.items() for i, item in enumerate(items)]


def _picture(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


PICTURES = {
    "grey": _picture((50, 40)),
    "colour": _picture((40, 50, 3)),
    "odd": _picture((33, 17)),
    "one pixel": _picture((1, 1)),
    "one pixel in colour": _picture((1, 1, 3)),
    "a line": _picture((1, 31)),
    "reversed view": _picture((40, 50, 3))[::-1, ::2, ::-1],
    "transposed view": _picture((40, 50)).T,
    "read-only": np.frombuffer(bytes(range(256)), np.uint8).reshape(16, 16),
}


def test_every_step_of_the_catalogue_is_under_the_contract():
    assert set(EXAMPLES) == set(CATALOGUE)


@pytest.mark.parametrize("item", EVERY)
def test_a_step_survives_the_round_trip_through_json(item):
    chain = Chain.parse([item])
    written = chain.as_list()
    assert json.loads(json.dumps(written)) == written
    again = Chain.parse(written)
    assert again == chain and again.digest == chain.digest and again.as_list() == written


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("item", EVERY)
def test_a_step_takes_any_picture_and_gives_what_it_promises(item, picture):
    image = PICTURES[picture]
    before = image.copy()
    chain = Chain.parse([item])
    outcome = chain.run(image)
    np.testing.assert_array_equal(image, before)
    pixels = outcome.pixels
    if pixels is None:
        assert outcome.notes
        return
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    assert chain.size in (None, pixels.shape[:2])
    assert chain.channels in (None, 1 if pixels.ndim == 2 else 3)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("item", EVERY)
def test_a_step_is_deterministic_and_blind_to_memory_layout(item, picture):
    image = PICTURES[picture]
    first = Chain.parse([item]).run(image)
    second = Chain.parse([item]).run(np.asfortranarray(image))
    assert first.notes == second.notes
    np.testing.assert_array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize("item", EVERY)
def test_a_batch_is_scaled_as_its_pictures_are(item):
    chain = Chain.parse([item])
    image = _picture((48, 48, 3))
    prepared = chain.run(image).pixels
    prepared = image if prepared is None else prepared
    batch = np.stack([prepared, 255 - prepared])
    tensor = chain.tensor(batch)
    assert tensor.dtype == np.float32 and tensor.flags.c_contiguous
    assert tensor.shape[0] == 2 and tensor.shape[2:] == prepared.shape[:2]
    for one, picture in zip(tensor, batch, strict=True):
        np.testing.assert_array_equal(chain.tensor(picture[None])[0], one)


@pytest.mark.parametrize("name", CATALOGUE)
def test_an_unknown_parameter_names_the_step_and_what_it_knows(name):
    with pytest.raises(UsageError, match=name):
        Chain.parse([{name: {"nonsense": 1}}])


@given(st.lists(st.sampled_from([x for items in EXAMPLES.values() for x in items if "normalise" not in x]), max_size=4))
def test_any_order_of_plain_steps_keeps_its_promises(items):
    chain = Chain.parse(items)
    pixels = chain.run(PICTURES["colour"]).pixels
    if pixels is not None:
        assert chain.size in (None, pixels.shape[:2])
        assert chain.channels in (None, 1 if pixels.ndim == 2 else 3)
        np.testing.assert_array_equal(Chain.parse(chain.as_list()).run(PICTURES["colour"]).pixels, pixels)


def test_a_clip_that_small_tiles_do_not_let_count_is_remarked():
    image = np.random.default_rng(0).integers(0, 256, (60, 60), np.uint8)
    small, other = (Chain.parse(["grey", {"resize": 48}, {"clahe": {"clip": clip}}]) for clip in (2, 14))
    assert np.array_equal(small.run(image).pixels, other.run(image).pixels)
    (said,) = small.remarks
    assert said.startswith("clahe: in 8x8 tiles of 48x48 pictures every clip below 14.2 acts as 7.1")
    higher, fewer = {"clip": 15}, {"clip": 2, "tiles": 1}
    for options in (higher, fewer):
        assert not Chain.parse(["grey", {"resize": 48}, {"clahe": options}]).remarks
    assert not Chain.parse(["clahe", {"resize": 48}]).remarks, "a picture may have any size here"


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["resise"], "did you mean 'resize'"),
        ([{"resize": {"interpolaton": "area"}}], "did you mean 'interpolation'"),
        ([{"resize": {"size": 48, "interpolation": "aera"}}], "did you mean 'area'"),
        ([{"resize": 0}], "from 1 to 8192"),
        ([{"resize": [48, 48, 48]}], "height and width"),
        ([{"resize": "big"}], "whole number"),
        ([{"crop": 1.5}], "crop"),
        ([{"crop": [0.5, 0, 0.6, 1]}], "leaves the picture"),
        ([{"clahe": {"clip": 0}}], "clip"),
        ([{"detect-face": "yunett"}], "did you mean 'yunet'"),
        ([{"detect-face": {"detector": "auto"}}], "viola-jones, yunet"),
        ([{"detect-face": {"missing": "skip"}}], "drop, fail, keep"),
        ([{"frame-face": {"detector": "auto"}}], "haar, viola-jones, yunet"),
        ([{"frame-face": {"eyes": 2}}], "framing eyes is out of range"),
        ([{"align": {"apart": 0}}], "apart"),
        ([{"restore": "gfpgan-1.5"}], "did you mean 'gfpgan-1.4'"),
        ([{"restore": {"restorer": "bicubic", "weights": "x.pth"}}], "takes no weights"),
        ([{"restore": {"weights": "x.pth"}}], "sha256"),
        ([{"restore": {"device": "cpuu"}}], "did you mean 'cpu'"),
        ([{"canny": {"low": 9, "high": 3}}], "high"),
        ([{"grey": 1}], "no parameters"),
        ([{"normalise": "imagnet"}], "did you mean 'imagenet'"),
        ([{"normalise": {"mean": [0.5, 0.5]}}], "one number, or three"),
        ([{"normalise": {"std": 0}}], "std"),
        ([{"normalise": "half"}, "grey"], "last step"),
        (["grey", {"normalise": "imagenet"}], "three means"),
        ([{"resize": 48, "grey": None}], "a chain step is"),
        ("grey", "a chain is a list"),
        ({"grey": None}, "a chain is a list"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(items, words):
    with pytest.raises(UsageError) as caught:
        Chain.parse(items)
    assert words in str(caught.value)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(UsageError, match="not a picture"):
        Chain().run(image)


def test_equal_chains_have_equal_digests_however_they_are_written():
    short, long = Chain.parse([{"clahe": 2}]), Chain.parse([{"clahe": {"tiles": 8, "clip": 2.0}}])
    assert short.digest == long.digest != Chain.parse([{"clahe": 3}]).digest


@given(st.sampled_from([(3, 5), (3, 5, 3)]), st.sampled_from([0.0, 0.485, 1.0]), st.sampled_from([0.229, 1.0]))
def test_tensor_is_the_textbook_formula(shape, mean, std):
    batch = _picture((2, *shape))
    chain = Chain.parse([{"normalise": {"mean": mean, "std": std}}])
    expected = (batch / 255 - mean) / std
    expected = expected[:, None] if batch.ndim == 3 else expected.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(chain.tensor(batch), expected, atol=2e-6)


def test_imagenet_statistics_go_to_their_channels():
    red = np.zeros((1, 1, 1, 3), np.uint8)
    red[..., 0] = 255
    tensor = Chain.parse([{"normalise": "imagenet"}]).tensor(red)
    np.testing.assert_allclose(tensor.ravel(), [(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225], atol=1e-6)


def test_without_a_normalise_step_pixels_become_zero_to_one():
    tensor = Chain.parse(["grey"]).tensor(np.array([[[0, 255]]], np.uint8))
    np.testing.assert_allclose(tensor.ravel(), [0, 1], atol=1e-7)


def test_three_statistics_on_grey_pictures_are_refused():
    with pytest.raises(UsageError, match="channels"):
        Chain.parse([{"normalise": "imagenet"}]).tensor(np.zeros((1, 2, 2), np.uint8))
